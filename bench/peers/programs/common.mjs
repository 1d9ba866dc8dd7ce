// What the programs on Node.js share: their configuration, the call, and the commands they answer.
import { createInterface } from 'node:readline'
import { Pool } from 'undici'

export const config = JSON.parse(process.argv[2])

// undici is Node's own HTTP client; its `request` on a Pool is what its documentation names as the
// fastest way to many calls to one origin. As many connections as there are calls at once, kept open.
const receiver = new Pool(config.receiver, {
  connections: config.connections,
  keepAliveTimeout: 3_600_000,
  keepAliveMaxTimeout: 3_600_000
})
const HEADERS = { 'content-type': 'application/json' }

// Makes the call of a job: all that a job does.
export async function call ({ job, fire }) {
  const { statusCode, body } = await receiver.request({
    path: fire === undefined ? `/ok?job=${job}` : `/ok?job=${job}&fire=${fire}`,
    method: 'POST',
    headers: HEADERS,
    body: '{"hello":"world"}'
  })
  await body.dump() // frees the connection for the next call
  if (statusCode !== 200) throw new Error(`answered ${statusCode}`)
}

export function say (message) {
  process.stdout.write(JSON.stringify(message) + '\n')
}

// Creates jobs until there are enough or the time is over, with so many calls at once: `one(number)`,
// or `many(numbers)` with a batch each, whichever of them the command asks for.
export async function create ({ count, first, how, at_once: atOnce, batch, seconds }, one, many) {
  const began = performance.now()
  const over = () => seconds !== null && performance.now() - began > seconds * 1_000
  let created = 0
  const lane = async () => {
    while (created < count && !over()) {
      const start = first + created
      const size = how === 'single' ? 1 : Math.min(batch, count - created)
      created += size
      await (how === 'single' ? one(start) : many(Array.from({ length: size }, (_, n) => start + n)))
    }
  }
  await Promise.all(Array.from({ length: atOnce }, lane))
  return { created, seconds: (performance.now() - began) / 1_000 }
}

// Answers each line of standard input by the handler of that name; ends where it ends.
export async function answer (handlers) {
  say({ ready: true })
  for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line)
    say(await handlers[command.do](command))
  }
  process.exit(0)
}

// A worker says that it is ready, and ends when whoever started it is gone.
export function work () {
  say({ ready: true })
  process.stdin.resume()
  process.stdin.on('end', () => process.exit(0))
}
