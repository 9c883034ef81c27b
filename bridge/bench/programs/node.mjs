// What many projects run today: Node and `ws`, changes filtered by user id.
//
//   node node.mjs GROUPS
//
// Line n of GROUPS names the users who get messages of group n.  A client says `GET /?user=N`.  Messages come on standard
// input: size and group as 32-bit numbers, then the text, ready to be sent; so nothing is parsed or encoded here.
import { readFileSync } from 'node:fs'
import { WebSocketServer } from 'ws'

const groups = readFileSync(process.argv[2], 'utf8').trimEnd().split('\n').map((line) => line.split(' '))
const socketsOf = new Map()

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false, backlog: 2048 })
server.on('listening', () => console.log(server.address().port))
server.on('connection', (socket, request) => {
  const user = new URL(request.url, 'http://localhost').searchParams.get('user')
  if (!socketsOf.has(user)) socketsOf.set(user, new Set())
  socketsOf.get(user).add(socket)
  socket.on('close', () => socketsOf.get(user).delete(socket))
})

function publish(group, text) {
  for (const user of groups[group]) {
    for (const socket of socketsOf.get(user) ?? []) socket.send(text, { binary: false })
  }
}

let rest = Buffer.alloc(0)
process.stdin.on('data', (chunk) => {
  const input = rest.length ? Buffer.concat([rest, chunk]) : chunk
  let at = 0
  while (input.length - at >= 8) {
    const end = at + 8 + input.readUInt32LE(at)
    if (end > input.length) break
    publish(input.readUInt32LE(at + 4), input.subarray(at + 8, end))
    at = end
  }
  rest = input.subarray(at)
})
process.stdin.on('end', () => process.exit(0))
