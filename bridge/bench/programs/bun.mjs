// Bun's own publish (uWebSockets, in C++): each client subscribes to the topics of its groups.
//
//   bun bun.mjs GROUPS
//
// Input and clients as with node.mjs.
import { readFileSync } from 'node:fs'

const topicsOf = new Map()
readFileSync(process.argv[2], 'utf8').trimEnd().split('\n').forEach((line, group) => {
  for (const user of line.split(' ')) {
    if (!topicsOf.has(user)) topicsOf.set(user, [])
    topicsOf.get(user).push(String(group))
  }
})

const server = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  fetch(request, server) {
    const user = new URL(request.url).searchParams.get('user')
    return server.upgrade(request, { data: { user } }) ? undefined : new Response('no WebSocket', { status: 400 })
  },
  websocket: {
    perMessageDeflate: false,
    maxBackpressure: 1 << 30,
    open(socket) {
      for (const topic of topicsOf.get(socket.data.user) ?? []) socket.subscribe(topic)
    },
    message() {},
  },
})
console.log(server.port)

const decoder = new TextDecoder()
let rest = Buffer.alloc(0)
process.stdin.on('data', (chunk) => {
  const input = rest.length ? Buffer.concat([rest, chunk]) : chunk
  let at = 0
  while (input.length - at >= 8) {
    const end = at + 8 + input.readUInt32LE(at)
    if (end > input.length) break
    server.publish(String(input.readUInt32LE(at + 4)), decoder.decode(input.subarray(at + 8, end)))
    at = end
  }
  rest = input.subarray(at)
})
process.stdin.on('end', () => process.exit(0))
