// BullMQ: delayed jobs, and job schedulers for those that fire every second.
import { Queue, Worker } from 'bullmq'
import { answer, call, config, create, work } from './common.mjs'

// Workers need `maxRetriesPerRequest: null` (BullMQ, "Connections").
const connection = { host: '127.0.0.1', port: config.redis_port, maxRetriesPerRequest: null }

async function worker () {
  const worker = new Worker('calls', async job => {
    // The id of a scheduler's job ends with its instant; others carry nothing but their number.
    const fire = job.repeatJobKey === undefined ? undefined : job.id.split(':').at(-1)
    await call({ job: job.data.job, fire })
  }, {
    connection,
    // "Concurrency" recommends this factor for calls that wait for others, 100 to 300.
    concurrency: config.concurrency
    // Completed jobs are kept, as is the default: they are the record of what ran.
  })
  worker.on('error', error => console.error(error))
  await worker.waitUntilReady()
  work()
}

async function control () {
  const queue = new Queue('calls', { connection })
  await queue.waitUntilReady()
  await answer({
    create: command => {
      const delay = () => Math.max(0, command.at - Date.now())
      return create(
        command,
        job => queue.add('call', { job }, { delay: delay() }),
        jobs => queue.addBulk(jobs.map(job => ({ name: 'call', data: { job }, opts: { delay: delay() } })))
      )
    },
    schedule: async ({ starts }) => {
      await Promise.all(starts.map((startDate, job) => queue.upsertJobScheduler(
        `second-${job}`, { every: 1_000, startDate }, { name: 'call', data: { job } }
      )))
      return {}
    },
    left: async () => {
      const counts = await queue.getJobCounts('active', 'waiting', 'delayed', 'prioritized')
      return { left: Object.values(counts).reduce((sum, count) => sum + count, 0) }
    }
  })
}

await (config.role === 'worker' ? worker() : control())
