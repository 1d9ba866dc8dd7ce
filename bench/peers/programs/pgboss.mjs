// pg-boss: jobs with `startAfter`. Its schedules know minutes, so nothing of it fires every second.
import pg from 'pg'
import { PgBoss } from 'pg-boss'
import { answer, call, config, create, work } from './common.mjs'

async function start (options) {
  const boss = new PgBoss({ connectionString: config.postgres, max: config.pool, ...options })
  boss.on('error', error => console.error(error))
  await boss.start()
  return boss
}

async function worker () {
  const boss = await start({})
  await boss.work('calls', {
    // Batches ("Workers"), fetched one after the other without a pause while they come back full;
    // 0.5 s is the shortest pause that it takes.
    batchSize: config.batch,
    localConcurrency: config.concurrency,
    burstWhenBatchFull: true,
    pollingIntervalSeconds: 0.5
  }, async jobs => {
    await Promise.all(jobs.map(job => call(job.data)))
  })
  work()
}

async function control () {
  // It only creates: maintenance and schedules are the worker's business.
  const boss = await start({ supervise: false, schedule: false })
  await boss.createQueue('calls')
  const database = new pg.Client(config.postgres)
  await database.connect()
  await answer({
    create: command => {
      const startAfter = new Date(command.at)
      return create(
        command,
        job => boss.send('calls', { job }, { startAfter }),
        jobs => boss.insert('calls', jobs.map(job => ({ data: { job }, startAfter })))
      )
    },
    left: async () => {
      const { rows } = await database.query(
        "SELECT EXISTS (SELECT 1 FROM pgboss.job WHERE name = 'calls' AND state < 'completed') AS any"
      )
      return { left: rows[0].any ? 1 : 0 }
    }
  })
}

await (config.role === 'worker' ? worker() : control())
