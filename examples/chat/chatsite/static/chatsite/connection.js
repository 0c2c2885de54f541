// A WebSocket that comes back by itself.

const FIRST_WAIT = 500; // milliseconds, doubled with each attempt in vain
const LONGEST_WAIT = 15_000;
const RESTARTING = 1012; // the server's close code for "I will be back"
const NAMELESS = 4401; // ours: there is no name in the session, so trying again is no use

export class Connection {
  #url;
  #on;
  #socket = null;
  #vain = 0;
  #timer = 0;

  /** `on.frame(content)` gets what arrives, `on.state(state)` what became of the connection. */
  constructor(path, on) {
    this.#url = new URL(path, location.href.replace(/^http/, "ws"));
    this.#on = on;
    // When the network is back, or somebody looks, there is no reason to wait any longer.
    addEventListener("online", () => this.#hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.#hurry());
  }

  open() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const socket = new WebSocket(this.#url);
    this.#socket?.close();
    this.#socket = socket;
    socket.onmessage = ({ data }) => {
      if (socket !== this.#socket) return;
      this.#vain = 0;
      this.#on.frame(JSON.parse(data));
    };
    socket.onclose = ({ code }) => {
      if (socket === this.#socket) this.#closed(code);
    };
  }

  /** Whether it took the content; that does not mean that it arrived. */
  send(content) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(content));
    return true;
  }

  #closed(code) {
    this.#socket = null;
    if (code === NAMELESS) return this.#on.state("ended");
    this.#on.state("waiting");
    // At random, or all pages would come back at the same moment, again and again. A restarted
    // server is often back at once.
    const wait = Math.min(FIRST_WAIT * 2 ** this.#vain, LONGEST_WAIT) * (0.5 + Math.random() / 2);
    this.#timer = setTimeout(() => this.open(), code === RESTARTING ? Math.random() * 100 : wait);
    this.#vain += 1;
  }

  #hurry() {
    if (this.#timer) this.open();
  }
}
