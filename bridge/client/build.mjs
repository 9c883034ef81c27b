// Builds dist/ from src/: `node build.mjs`.  With --check it builds elsewhere and compares: what is committed
// (and served by the bridge) must be what the source builds.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const here = fileURLToPath(new URL('.', import.meta.url));
const MAX_GZIP_BYTES = 8 * 1024;
const BANNER = '// Supabase Realtime bridge, browser client. MIT license. Built from bridge/client/src; types beside it.';

async function make(folder) {
  mkdirSync(folder, { recursive: true });
  execFileSync(process.execPath, [join(here, 'node_modules/typescript/bin/tsc'), '-p', here, '--outDir', join(folder, '.types')], {
    stdio: 'inherit',
  });
  await build({
    absWorkingDir: here,
    entryPoints: { client: 'src/index.ts', react: 'src/react.ts' },
    outdir: folder,
    bundle: true,
    external: ['react'],
    minify: true,
    format: 'esm',
    target: 'es2022',
    banner: { js: BANNER },
    logLevel: 'warning',
  });
  const api = readFileSync(join(folder, '.types/api.d.ts'), 'utf8');
  const made = '\n/** Make a client of the bridge at `options.url`; it connects when told to. */\nexport declare const createBridgeClient: CreateBridgeClient;\n';
  writeFileSync(join(folder, 'client.d.ts'), api.replace(/\nexport \{\};\n$/, '\n') + made);
  // The two files of types that the hooks need, as one that knows the client's by their published name.
  const [rows, react] = ['rows', 'react'].map((name) => readFileSync(join(folder, `.types/${name}.d.ts`), 'utf8'));
  const shown = rows.slice(rows.indexOf('/** What a hook returns'), rows.indexOf('export interface Source'));
  const hooks = react.replace("'./api.js'", "'./client.js'").replace(/import .* from '.\/rows.js';\nexport .* from '.\/rows.js';\n/, shown);
  writeFileSync(join(folder, 'react.d.ts'), hooks);
  rmSync(join(folder, '.types'), { recursive: true });
}

const dist = join(here, 'dist');
if (process.argv.includes('--check')) {
  const folder = mkdtempSync(join(tmpdir(), 'bridge-client-'));
  try {
    await make(folder);
    const names = [...new Set([...readdirSync(folder), ...readdirSync(dist)])];
    const read = (path) => { try { return readFileSync(path, 'utf8'); } catch { return null; } };
    const stale = names.filter((name) => read(join(folder, name)) !== read(join(dist, name)));
    if (stale.length > 0) {
      console.error(`dist/ is not what src/ builds (${stale.join(', ')}): run npm run build in bridge/client and commit dist/`);
      process.exit(1);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
} else {
  rmSync(dist, { recursive: true, force: true });
  await make(dist);
}
const size = gzipSync(readFileSync(join(dist, 'client.js')), { level: 9 }).length;
console.log(`client.js: ${size} bytes gzipped (limit ${MAX_GZIP_BYTES})`);
if (size > MAX_GZIP_BYTES) process.exit(1);
