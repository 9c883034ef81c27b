// PM2 runs the worker as `websocket-server`, the name of the Node system that it replaces.
// Tested with a real PM2 in tests/ops/test_pm2.py.
//
//   pm2 start ops/pm2/ecosystem.config.cjs              reads .env beside the checkout's README
//   WORKERS=2 pm2 start ops/pm2/ecosystem.config.cjs    a second one, websocket-server-2, on 3004 (admin 3005)
//   pm2 reload websocket-server                         drains, then starts; with two, one after the other
//   pm2 logs websocket-server                           JSON lines (stderr)
'use strict'

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { parseEnv } = require('node:util') // Node 20.12 or later

// `pm2 save` writes the settings, keys included, into a file that everybody on the machine may read: close the folder.
const home = process.env.PM2_HOME || path.join(os.homedir(), '.pm2')
if (fs.existsSync(home)) fs.chmodSync(home, 0o700)

const root = path.resolve(__dirname, '../..')
// A whole path: PM2 would take `bridge` for the folder of that name.
const folders = [path.join(root, '.venv/bin'), ...process.env.PATH.split(path.delimiter)]
const program = folders.map((folder) => path.join(folder, 'bridge')).find((found) => fs.existsSync(found))
if (!program) throw new Error('the program bridge is not found: run make install, or put its folder on PATH')
const file = path.join(root, '.env')
const settings = { ...(fs.existsSync(file) ? parseEnv(fs.readFileSync(file, 'utf8')) : {}), ...process.env }
const drainS = Number(settings.BRIDGE_DRAIN_TIMEOUT_S || 20)

// An empty value in the file is one that is not set.
const env = Object.fromEntries(Object.entries(settings).filter(([name, value]) => /^(BRIDGE|SUPABASE)_/.test(name) && value))

const worker = (number) => ({
  name: number === 0 ? 'websocket-server' : `websocket-server-${number + 1}`,
  cwd: root,
  script: program,
  args: 'run',
  interpreter: 'none',
  exec_mode: 'fork', // cluster mode is Node's own
  env: {
    ...env,
    ...(number === 0
      ? {}
      : {
          BRIDGE_PORT: String(Number(env.BRIDGE_PORT || 3002) + 2 * number),
          BRIDGE_ADMIN_PORT: String(Number(env.BRIDGE_ADMIN_PORT || 3003) + 2 * number),
        }),
  },
  kill_timeout: (drainS + 10) * 1000, // PM2 sends SIGINT, and SIGKILL after this: clients have to be gone before
  treekill: false,
  stop_exit_codes: [2], // a setting is wrong: starting again does not help
})

module.exports = { apps: Array.from({ length: Number(process.env.WORKERS || 1) }, (_, number) => worker(number)) }
