// A room of the chat. Whatever others wrote is put into the page as text, never as HTML.

import { Connection } from "./connection.js";

const AWAY = 6_000; // milliseconds: who is back by then (a reload) has not left
const AWAY_RESTART = 20_000; // the same when everybody has to come back
const OVERDUE = 10_000; // no answer for so long: the connection is dead, and nobody has noticed
const MOST_LINES = 500;
const SAME_BREATH = 300_000; // lines of one person so close together share a name and a time
const STATES = {
  open: "Connected",
  waiting: "Connection lost. It will come back by itself; what you write is kept.",
  ended: "Your session has ended. Load the page again to say your name.",
};

const $ = (id) => document.getElementById(id);
const [chat, log, waiting, scroller, people] = ["chat", "log", "waiting", "scroller", "people"].map($);
const [form, draft, state, problem, jump] = ["say", "draft", "state", "problem", "jump"].map($);
const title = document.title;
const here = new Map(); // by the person's id: {person, item, leaving}
let me = { id: "" };
let unread = 0;

function element(name, className, ...children) {
  const node = document.createElement(name);
  node.className = className;
  node.append(...children);
  return node;
}

function avatar({ id, name }) {
  const mark = element("span", "avatar", [...name][0].toUpperCase());
  const hue = [...id].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7);
  mark.style.setProperty("--hue", hue);
  mark.setAttribute("aria-hidden", "true");
  return mark;
}

function clock(sent) {
  const date = new Date(sent);
  const today = date.toDateString() === new Date().toDateString();
  const options = today ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" };
  const time = element("time", "", date.toLocaleString([], options));
  time.dateTime = date.toISOString();
  time.title = date.toLocaleString();
  return time;
}

// Lines. Whoever reads the newest goes on doing so; others are not disturbed.

let following = true;

function scrollToEnd() {
  following = true;
  scroller.scrollTop = scroller.scrollHeight;
}

scroller.addEventListener("scroll", () => {
  following = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60;
  if (following) jump.hidden = true;
});
new ResizeObserver(() => following && scrollToEnd()).observe(scroller);
jump.addEventListener("click", () => {
  scrollToEnd();
  draft.focus();
});

function change(act, own = false) {
  const last = log.lastElementChild;
  act();
  if (own || following) scrollToEnd();
  else if (log.lastElementChild !== last) jump.hidden = false;
}

function messageLine({ id, person, text, sent }) {
  const words = element("p", "words", text);
  words.dir = "auto";
  const name = element("b", "", person.name);
  const line = element("li", "line", avatar(person), element("p", "by", name, " ", clock(sent)), words);
  line.classList.toggle("own", person.id === me.id);
  Object.assign(line.dataset, { id, person: person.id, sent: Date.parse(sent) });
  return line;
}

/** Put a message where its number belongs; false if it is there already. */
function show(message) {
  if (log.querySelector(`[data-id="${Number(message.id)}"]`)) return false;
  let next = null;
  for (let line = log.lastElementChild; line; line = line.previousElementSibling) {
    if (Number(line.dataset.id) < message.id) break;
    if (line.dataset.id) next = line;
  }
  const line = messageLine(message);
  log.insertBefore(line, next);
  const before = line.previousElementSibling?.dataset;
  const again = before?.person === line.dataset.person && line.dataset.sent - before.sent < SAME_BREATH;
  line.classList.toggle("again", again);
  if (log.children.length > MOST_LINES) log.firstElementChild.remove();
  return true;
}

function note(text) {
  change(() => log.append(element("li", "note", text, " · ", clock(Date.now()))));
}

// Who is here. The server says who has come and gone; whether that is worth a note is decided here.

function arrive(person, isNew) {
  const known = here.get(person.id);
  clearTimeout(known?.leaving);
  const you = person.id === me.id ? element("span", "you", "(you)") : "";
  const item = element("li", "", avatar(person), element("span", "name", person.name), you);
  if (known) known.item.replaceWith(item);
  else people.append(item);
  here.set(person.id, { person, item });
  if (isNew && !known && person.id !== me.id) note(`${person.name} came in`);
}

function depart({ id }, patience = AWAY) {
  const known = here.get(id);
  if (!known) return;
  known.item.classList.add("leaving");
  clearTimeout(known.leaving);
  known.leaving = setTimeout(() => {
    here.delete(id);
    known.item.remove();
    note(`${known.person.name} left`);
  }, patience);
}

// What was said but has not arrived: sent one after another, each until the server has confirmed it.
// The session storage of the tab keeps it, and the draft, also when the page is loaded again.

const storage = `chat:${chat.dataset.room}`;
const outbox = JSON.parse(sessionStorage.getItem(storage) ?? "[]");
let ready = false; // to send the next one
let timer = 0;

function keep() {
  sessionStorage.setItem(storage, JSON.stringify(outbox));
  sessionStorage.setItem(`${storage}:draft`, draft.value);
  waiting.replaceChildren(...outbox.map(({ text }) => element("li", "line own unsent", element("p", "words", text))));
}

function say(text) {
  // crypto.randomUUID() would want HTTPS or localhost.
  const nonce = [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16)).join("-");
  outbox.push({ text, nonce });
  change(keep, true);
  sendNext();
}

function sendNext() {
  if (!ready || outbox.length === 0 || !connection.send(outbox[0])) return;
  ready = false;
  timer = setTimeout(() => connection.open(), OVERDUE);
}

function settled(nonce) {
  if (outbox[0]?.nonce === nonce) outbox.shift();
  goOn(0);
}

function goOn(wait) {
  clearTimeout(timer);
  timer = setTimeout(() => {
    ready = true;
    sendNext();
  }, wait);
}

// What the server says

const frames = {
  welcome({ you, messages }) {
    me = you;
    // They say hello again, if they are still here.
    for (const { person } of here.values()) depart(person, AWAY_RESTART);
    change(() => messages.forEach(show));
    // Only from now on are lines read aloud as they come: not the whole history.
    setTimeout(() => log.setAttribute("aria-live", "polite"));
    setState("open");
    goOn(0);
  },
  message({ nonce, ...message }) {
    if (nonce) problem.textContent = "";
    change(() => {
      if (nonce) settled(nonce);
      if (show(message) && document.hidden) unread += 1;
      keep();
    }, Boolean(nonce));
    tellTitle();
  },
  here({ person, new: isNew }) {
    arrive(person, isNew);
  },
  gone({ person }) {
    depart(person);
  },
  error({ text, wait }) {
    problem.textContent = text;
    if (wait) return goOn(wait * 1000);
    // It was about the only message under way, and will be no better next time: give it back.
    const refused = outbox.shift();
    if (refused && !draft.value) draft.value = refused.text;
    keep();
    goOn(0);
  },
};

function setState(name) {
  state.dataset.state = chat.dataset.state = name;
  if (state.textContent !== STATES[name]) state.textContent = STATES[name];
  if (name === "open") return;
  ready = false;
  clearTimeout(timer);
  // Without a connection nobody can be missed.
  for (const { leaving } of here.values()) clearTimeout(leaving);
}

function tellTitle() {
  document.title = unread ? `(${unread}) ${title}` : title;
}

const connection = new Connection(chat.dataset.socket, {
  frame: (content) => frames[content.type]?.(content),
  state: setState,
});

// The form

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = draft.value.trim();
  draft.value = "";
  if (text) say(text);
  draft.focus();
});

draft.addEventListener("keydown", (event) => {
  // While an input method composes a word, Enter is for the method.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});

draft.addEventListener("input", keep);

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  unread = 0;
  tellTitle();
});

draft.value ||= sessionStorage.getItem(`${storage}:draft`) ?? "";
keep();
connection.open();
