// The chat on the screen.  Knows elements, not the bridge.

const find = (selector) => document.querySelector(selector);
const TRANSPORTS = { live: 'WebSocket', polling: 'HTTP polling' };
const WORDS = { idle: 'Not connected', connecting: 'Connecting', live: 'Live', polling: 'Polling', closed: 'Closed' };
const HINTS = {
  live: 'See the fallback to HTTP polling, and the way back.',
  polling: 'Events come by HTTP polling; the WebSocket is tried in the background.',
};

export const hueOf = (id) => [...id].reduce((sum, c) => sum + 37 * c.charCodeAt(0), 0) % 360;

function element(tag, className, text = '') {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function avatar(id, name) {
  const made = element('span', 'avatar', name[0]);
  made.style.setProperty('--hue', hueOf(id));
  made.setAttribute('aria-hidden', 'true');
  return made;
}

export function createView({ user, nameOf, choose, write, block, signOut, seen }) {
  const ended = new AbortController();
  const on = (target, name, act) => target.addEventListener(name, act, { signal: ended.signal });
  const [chat, list, body, log, rows] = ['#chat', '#dialogs', '#body', '#messages', '#messages ol'].map(find);
  const shown = new Map(); // message id -> element
  const listed = new Map(); // dialog id -> element
  let dialog = null;
  let countdown;

  chat.hidden = false;
  find('#me').textContent = user.name;
  find('#me-avatar').replaceWith(Object.assign(avatar(user.id, user.name), { id: 'me-avatar' }));

  const isAtEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  const showLatest = () => {
    log.scrollTop = log.scrollHeight;
    find('#latest').hidden = true;
  };

  function row(message, previous, pending) {
    const name = nameOf(message.sender_id);
    const mine = message.sender_id === user.id;
    let item = shown.get(message.id);
    if (item === undefined) {
      item = element('li', 'message new');
      item.dataset.id = message.id;
      const bubble = element('div', '');
      bubble.append(element('b', '', name), element('span', 'text'), element('time', ''));
      item.append(avatar(message.sender_id, name), bubble);
      shown.set(message.id, item);
    }
    item.classList.toggle('mine', mine);
    item.classList.toggle('follows', previous?.sender_id === message.sender_id);
    item.classList.toggle('pending', pending);
    const [text, time] = item.querySelectorAll('.text, time');
    setText(text, message.body);
    const at = new Date(message.created_at);
    const isTime = !Number.isNaN(at.getTime()); // Postgres has an infinite one
    time.dateTime = isTime ? at.toISOString() : '';
    time.textContent = pending ? 'sending' : isTime ? at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }) : '';
    return item;
  }

  /** Moving an element that is in its place would have a screen reader read it again, and take focus and clicks from it. */
  function putAt(parent, place, item) {
    if (parent.children[place] !== item) parent.insertBefore(item, parent.children[place] ?? null);
  }

  function setText(target, text) {
    if (target.textContent !== text) target.textContent = text;
  }

  function showMessages(messages, pending) {
    const stay = isAtEnd();
    const wanted = new Set(messages.map((message) => message.id));
    for (const [id, item] of shown) if (!wanted.has(id)) { item.remove(); shown.delete(id); }
    let added = false;
    messages.forEach((message, place) => {
      added ||= !shown.has(message.id);
      const item = row(message, messages[place - 1], pending.has(message.id));
      putAt(rows, place, item);
    });
    if (stay) showLatest();
    else if (added) find('#latest').hidden = false;
  }

  function dialogItem({ id, title }) {
    let item = listed.get(id);
    if (item !== undefined) return item;
    item = document.createElement('li');
    const button = item.appendChild(element('button', ''));
    button.type = 'button';
    const words = element('span', 'words');
    words.append(element('strong', ''), element('span', ''));
    const badge = element('span', 'unread');
    badge.append(element('span', ''), element('span', 'hidden'));
    button.append(avatar(id, title), words, badge);
    button.onclick = () => {
      choose(id);
      chat.dataset.showing = 'messages';
      body.focus();
    };
    listed.set(id, item);
    return item;
  }

  function showDialogs(dialogs, chosen) {
    const wanted = new Set(dialogs.map(({ id }) => id));
    for (const [id, item] of listed) if (!wanted.has(id)) { item.remove(); listed.delete(id); }
    dialogs.forEach((one, place) => {
      const item = dialogItem(one);
      item.firstChild.setAttribute('aria-current', String(one.id === chosen?.id));
      setText(item.querySelector('.avatar'), [...one.title][0]);
      setText(item.querySelector('strong'), one.title);
      setText(item.querySelector('.words span'), one.last ? `${nameOf(one.last.sender_id)}: ${one.last.body}` : 'No messages yet');
      const badge = item.querySelector('.unread');
      badge.hidden = one.unread === 0;
      setText(badge.firstChild, one.unread ? String(one.unread) : '');
      setText(badge.lastChild, one.unread ? ' unread' : '');
      putAt(list, place, item);
    });
    const count = dialogs.reduce((sum, one) => sum + one.unread, 0);
    document.title = `${count ? `(${count}) ` : ''}${chosen?.title ?? 'Supabase Realtime bridge'}`;
  }

  function statusText({ state, reason, upstream }) {
    if (state === 'waiting') return reason === 'offline' ? 'Offline' : 'Lost';
    if (state === 'closed' && reason) return `Closed: ${reason}`;
    if ((state === 'live' || state === 'polling') && upstream && upstream !== 'live') return 'Catching up';
    return WORDS[state];
  }

  function status(now) {
    clearInterval(countdown);
    setText(find('#status'), statusText(now));
    // Beside what is read out: nobody wants to hear every second.
    const count = () => {
      const left = Math.ceil((now.retryAt - Date.now()) / 1000);
      setText(find('#retry'), now.state !== 'waiting' ? '' : left > 0 ? `again in ${left} s` : 'trying');
    };
    count();
    if (now.state === 'waiting') countdown = setInterval(count, 1000);
    find('#status').dataset.state = now.state;
    find('#status').title = now.reason;
    setText(find('#transport'), TRANSPORTS[now.state] ?? 'none');
    setText(find('#hint'), HINTS[now.state] ?? 'What was missed comes when the connection is back.');
  }

  on(find('#composer'), 'submit', (event) => {
    event.preventDefault();
    const text = body.value.trim();
    if (!text || dialog === null) return;
    body.value = '';
    setText(find('#notice'), '');
    write(text);
  });
  on(body, 'keydown', (event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    find('#composer').requestSubmit();
  });
  on(find('#block'), 'change', ({ target }) => block(target.checked));
  on(find('#sign-out'), 'click', signOut);
  on(find('#back'), 'click', () => {
    chat.dataset.showing = 'dialogs';
    list.querySelector('[aria-current=true]')?.focus();
  });
  on(find('#latest'), 'click', showLatest);
  on(log, 'scroll', () => { if (isAtEnd()) find('#latest').hidden = true; });
  on(document, 'visibilitychange', seen);

  return {
    showLatest,
    status,
    show({ dialogs, chosen, messages, pending }) {
      const isOther = dialog?.id !== chosen?.id;
      dialog = chosen;
      find('#title').textContent = chosen?.title ?? 'Choose a dialog';
      body.disabled = chosen === null;
      if (chosen === null) chat.dataset.showing = 'dialogs';
      showDialogs(dialogs, chosen);
      // What was there before is not read out.
      log.ariaLive = isOther ? 'off' : 'polite';
      showMessages(messages, pending);
      if (isOther) showLatest();
    },
    latency(ms) {
      find('#latency').textContent = ms < 1000 ? `${Math.max(0, Math.round(ms))} ms` : `${(ms / 1000).toFixed(1)} s`;
    },
    say(text) {
      setText(find('#notice'), text);
    },
    end() {
      ended.abort();
      clearInterval(countdown);
      chat.hidden = true;
      for (const shownBefore of [rows, list, find('#notice')]) shownBefore.replaceChildren();
    },
  };
}
