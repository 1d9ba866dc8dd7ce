// graphile-worker: jobs with `runAt`. Its cron knows minutes, so nothing of it fires every second.
import { Logger, makeWorkerUtils, run } from 'graphile-worker'
import pg from 'pg'
import { answer, call, config, create, work } from './common.mjs'

process.env.NO_LOG_SUCCESS = '1' // as its own performance test: no line for each job that went well
const logger = new Logger(() => () => {})

const preset = {
  worker: {
    connectionString: config.postgres,
    // What its documentation ("Performance") names for the highest rate: fetch in batches into a
    // local queue, complete in batches. Its 24 jobs at once and 25 connections are tuned by ours.
    concurrentJobs: config.concurrency,
    maxPoolSize: config.pool,
    localQueue: { size: config.local_queue },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
    // Jobs with `runAt` are found by polling, every 2 s by default; that would be their lateness.
    pollInterval: config.poll_ms,
    logger
  }
}

async function worker () {
  await run({ preset, taskList: { call: payload => call(payload) } })
  work()
}

async function control () {
  const utils = await makeWorkerUtils({ preset })
  await utils.migrate()
  const database = new pg.Client(config.postgres)
  await database.connect()
  await answer({
    create: command => {
      const runAt = new Date(command.at)
      return create(
        command,
        job => utils.addJob('call', { job }, { runAt }),
        jobs => utils.addJobs(jobs.map(job => ({ identifier: 'call', payload: { job }, runAt })))
      )
    },
    left: async () => {
      const { rows } = await database.query('SELECT EXISTS (SELECT 1 FROM graphile_worker._private_jobs) AS any')
      return { left: rows[0].any ? 1 : 0 }
    }
  })
}

await (config.role === 'worker' ? worker() : control())
