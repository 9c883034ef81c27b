// The demo's chat: who is signed in, their rows, and the bridge.  What is on the screen is view.js's business.
import { createBridgeClient } from '/client.js';
import { createView, hueOf } from '/demo/view.js';

const KEPT_MESSAGES = 500; // of one dialog; a page that stays open for weeks does not grow
const RESEND_MS = 2_000;
const FRAME_MS = 16;

const users = await (await fetch('/demo/users')).json();
const nameOf = (id) => users.find((user) => user.id === id)?.name ?? 'Somebody';

/** Fails at the handshake while WebSockets are blocked, as behind a proxy that does not let them through. */
class BlockableSocket extends WebSocket {
  static blocked = false;
  static open = new Set();
  constructor(url, protocols) {
    super(BlockableSocket.blocked ? url.replace(/\/ws$/, '/blocked') : url, protocols);
    BlockableSocket.open.add(this);
    this.addEventListener('close', () => BlockableSocket.open.delete(this));
  }
}

function chat(user) {
  const dialogs = new Map();
  const messages = new Map(); // dialog id -> message id -> row
  const unread = new Map();
  const unsent = new Map(); // ids are chosen here: sending one twice writes it once
  const loading = new Map(); // dialog id -> messages that were deleted while what was said in it is read
  let chosen = null;
  let showsSoon = false;
  let over = false;

  const request = async (path, init) => {
    const answer = await fetch(path, { ...init, headers: { Authorization: `Bearer ${user.token}` }, cache: 'no-store' });
    if (!answer.ok) throw new Error((await answer.json()).error, { cause: answer.status });
    return answer.json();
  };
  const bridge = createBridgeClient({
    url: location.origin,
    getToken: () => user.token,
    WebSocket: BlockableSocket,
    timings: { probeMs: 2_000, probeCapMs: 10_000, retryCapMs: 5_000 }, // so that the way back is seen soon
  });

  function put(row) {
    for (const [id, others] of messages) if (id !== row.dialog_id) others.delete(row.id);
    const known = messages.get(row.dialog_id) ?? new Map();
    messages.set(row.dialog_id, known.set(row.id, row));
    if (unsent.delete(row.id)) view.showLatest();
    if (known.size > KEPT_MESSAGES) known.delete(known.keys().next().value);
  }

  function remove(id) {
    for (const known of messages.values()) known.delete(id);
    for (const gone of loading.values()) gone.add(id);
  }

  function removeDialog(id) {
    dialogs.delete(id);
    messages.delete(id);
    if (chosen === id) chosen = null;
  }

  async function read() {
    const rows = await request('/demo/rows');
    dialogs.clear();
    messages.clear();
    for (const row of rows.dialogs) dialogs.set(row.id, row);
    for (const row of rows.messages.reverse()) put(row);
    if (!dialogs.has(chosen)) chosen = matchMedia('(max-width: 46rem)').matches ? null : (rows.dialogs[0]?.id ?? null);
    if (!over) view.say('');
    show();
  }

  /** What was said in a dialog before it came into sight is told by nobody; what is told meanwhile is newer. */
  async function load(id) {
    const gone = new Set();
    loading.set(id, gone);
    try {
      const rows = await request('/demo/rows');
      const missing = rows.messages.reverse().filter((row) => row.dialog_id === id && dialogs.has(id) && !gone.has(row.id));
      for (const row of missing) if (!messages.get(id)?.has(row.id)) put(row);
      show();
    } catch {
      setTimeout(() => !over && dialogs.has(id) && void load(id), RESEND_MS);
    } finally {
      if (loading.get(id) === gone) loading.delete(id);
    }
  }

  function change(event) {
    const { eventType, table } = event;
    const gone = eventType === 'DELETE' || (event.old.id !== undefined && event.old.id !== event.new.id);
    if (table === 'dialogs') {
      if (gone) removeDialog(event.old.id);
      if (eventType !== 'DELETE') {
        const isNew = !dialogs.has(event.new.id);
        dialogs.set(event.new.id, event.new);
        if (isNew) void load(event.new.id);
      }
    } else if (table === 'messages') {
      if (gone) remove(event.old.id);
      if (eventType === 'INSERT' && event.new.sender_id !== user.id && (event.dialog_id !== chosen || document.hidden)) {
        unread.set(event.dialog_id, (unread.get(event.dialog_id) ?? 0) + 1);
      }
      if (eventType !== 'DELETE') put(event.new);
    }
    showSoon();
    view.latency(Date.now() - Date.parse(event.commit_timestamp));
  }

  /** A thousand changes at once are one rendering.  By time, since a hidden tab gets no frames and counts unread ones. */
  function showSoon() {
    if (showsSoon) return;
    showsSoon = true;
    setTimeout(show, FRAME_MS);
  }

  function show() {
    showsSoon = false;
    if (over) return; // somebody else may be signed in by now
    const said = (id) => [...(messages.get(id)?.values() ?? [])].sort((a, b) => (a.created_at < b.created_at ? -1 : Number(a.created_at > b.created_at)));
    const pending = [...unsent.values()].filter((row) => row.dialog_id === chosen);
    const list = [...dialogs.values()].map((d) => ({ ...d, title: d.title || 'Untitled', unread: unread.get(d.id) ?? 0, last: said(d.id).at(-1) }));
    const current = list.find(({ id }) => id === chosen) ?? null;
    view.show({ dialogs: list, chosen: current, messages: [...said(chosen), ...pending], pending: unsent });
  }

  function choose(id) {
    chosen = id;
    unread.delete(id);
    show();
    view.showLatest();
  }

  async function send(row) {
    try {
      await request('/demo/messages', { method: 'POST', body: JSON.stringify({ id: row.id, dialog_id: row.dialog_id, body: row.body }) });
    } catch (error) {
      if (typeof error.cause === 'number' && error.cause < 500) {
        unsent.delete(row.id);
        if (!over) view.say(error.message);
        return show();
      }
      setTimeout(() => unsent.has(row.id) && void send(row), RESEND_MS); // no network: it is written when there is one
    }
  }

  function write(body) {
    const row = { id: crypto.randomUUID(), dialog_id: chosen, sender_id: user.id, body, created_at: new Date().toISOString() };
    unsent.set(row.id, row);
    show();
    view.showLatest();
    void send(row);
  }

  function block(blocked) {
    BlockableSocket.blocked = blocked;
    if (blocked) for (const socket of BlockableSocket.open) socket.close();
  }

  function signOut() {
    over = true;
    bridge.close();
    view.end();
    history.replaceState(null, '', '/');
    signIn();
  }

  const seen = () => document.hidden || (chosen !== null && unread.delete(chosen) && show());
  const view = createView({ user, nameOf, choose, write, block, signOut, seen });
  view.status(bridge.status);
  bridge.on('resync', read);
  bridge.on('change', change);
  bridge.on('status', view.status);
  bridge.on('error', ({ message }) => view.say(message));
  bridge.subscribe();
  bridge.connect();
}

function signIn() {
  const user = users.find(({ name }) => name.toLowerCase() === new URLSearchParams(location.search).get('user')?.toLowerCase());
  const [page, list] = [document.querySelector('#sign-in'), document.querySelector('#users')];
  page.hidden = user !== undefined;
  if (user) return chat(user);
  list.replaceChildren(...users.map((one) => {
    const item = document.createElement('li');
    const button = item.appendChild(document.createElement('button'));
    button.type = 'button';
    button.innerHTML = '<span class="avatar" aria-hidden="true"></span><span><b></b><small></small></span>';
    const [avatar, name, email] = button.querySelectorAll('.avatar, b, small');
    avatar.textContent = one.name[0];
    avatar.style.setProperty('--hue', hueOf(one.id));
    [name.textContent, email.textContent] = [one.name, one.email];
    button.onclick = () => {
      history.replaceState(null, '', `/?user=${one.name.toLowerCase()}`);
      signIn();
    };
    return item;
  }));
  return undefined;
}

signIn();
