// The server's events, read by fetch because EventSource cannot send a token. Comes back by itself when the line is cut.

const FIRST_WAIT = 0.5; // seconds
const LONGEST_WAIT = 15;
const SILENCE = 10; // seconds without a byte after which the line counts as dead; there are two states a second

/** Cuts a text that comes in pieces into events: feed() gives those that are whole, as [name, data]. */
export class EventParser {
  #rest = "";
  #name = "";
  #data = [];

  feed(text) {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop();
    const events = [];
    for (const raw of lines) {
      const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
      if (line === "") {
        if (this.#data.length) events.push([this.#name || "message", this.#data.join("\n")]);
        this.#name = "";
        this.#data = [];
      } else {
        this.#field(line);
      }
    }
    return events;
  }

  #field(line) {
    const colon = line.indexOf(":");
    if (colon === 0) return; // a comment, sent to keep the line open
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#name = value;
  }
}

export class Stream {
  #again = null; // cuts short the wait for the next attempt
  #abort = null;
  #running = false;
  #opened = false; // this line has brought something

  /**
   * @param token () => the token, or null
   * @param take (kind, object): an event; false asks for the history
   * @param tell ({phase, wait?, why?, failures}): "connecting", "open", "waiting" (for `wait` seconds), "refused", "ended"
   */
  constructor({ token, take, tell }) {
    Object.assign(this, { token, take, tell });
    this.over = false; // set by whoever takes the events: the job is over, so the end of the line is no fault
  }

  /** Connect, and stay so until the token is refused or the job is over. */
  async run() {
    if (this.#running) return this.now();
    this.#running = true;
    let failures = 0; // attempts without an answer, one after the other
    let why = "";
    for (;;) {
      this.tell({ phase: "connecting", failures, why });
      this.#opened = false;
      const ended = await this.#once();
      why = ended.why;
      if (ended.refused) {
        this.#running = false;
        return this.tell({ phase: "refused", why, failures: 0 });
      }
      if (this.over) {
        this.#running = false;
        return this.tell({ phase: "ended", failures: 0 });
      }
      failures = this.#opened ? 0 : failures + 1;
      const wait = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** failures);
      this.tell({ phase: "waiting", wait, why, failures });
      await this.#pause(wait);
    }
  }

  /** Do not wait any longer: try now. */
  now() {
    this.#again?.();
  }

  /** Give the line up, as if it had been cut; run() goes on with the next attempt. */
  drop() {
    this.#abort?.abort();
  }

  #pause(seconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, seconds * 1000);
      this.#again = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #once() {
    const abort = new AbortController();
    this.#abort = abort;
    let watch = 0;
    const alive = () => {
      clearTimeout(watch);
      watch = setTimeout(() => abort.abort(), SILENCE * 1000);
    };
    alive();
    try {
      const answer = await fetch("events", {
        headers: { Authorization: `Bearer ${this.token() ?? ""}`, Accept: "text/event-stream" },
        cache: "no-store",
        signal: abort.signal,
      });
      if (answer.status === 401 || answer.status === 403) return { refused: true, why: "The token was refused." };
      if (!answer.ok) return { why: `The manager answered ${answer.status}.` };
      await this.#read(answer.body.getReader(), alive);
      return { why: "The manager has closed the line." };
    } catch {
      return { why: this.#opened ? "The line was cut." : "The manager does not answer." };
    } finally {
      clearTimeout(watch);
      abort.abort();
      this.#abort = null;
    }
  }

  async #read(reader, alive) {
    const parser = new EventParser();
    const decoder = new TextDecoder();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      alive();
      for (const [name, data] of parser.feed(decoder.decode(value, { stream: true }))) {
        if (!this.#opened) this.tell({ phase: "open", failures: 0 });
        this.#opened = true;
        if (!this.#hand(name, data)) return;
      }
    }
  }

  /** False: begin anew. A fault of the page itself is reported as one, not taken for a fault of the line. */
  #hand(name, data) {
    try {
      return this.take(name, JSON.parse(data)) !== false;
    } catch (fault) {
      reportError(fault);
      return false;
    }
  }
}
