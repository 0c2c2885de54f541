// Reads the answer as it is written. "Stop" hangs up, and the server stops writing.
"use strict";

const form = document.querySelector("#ask");
const stop = document.querySelector("#stop");
const answer = document.querySelector("#answer");
const counts = document.querySelector("#counts");
let asking = null;
let following = false;

async function read(url, signal) {
  const response = await fetch(url, { signal, cache: "no-store" });
  if (!response.ok) throw new Error(`The server answered ${response.status}.`);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    answer.append(value);
  }
}

// Follows the counts for as long as any stream runs, this page's or another's.
async function follow() {
  if (following) return;
  following = true;
  try {
    let more;
    do {
      more = asking !== null;
      const response = await fetch(counts.dataset.url, { cache: "no-store" });
      const ends = await response.json();
      for (const [name, number] of Object.entries(ends)) {
        counts.querySelector(`[data-count=${name}]`).textContent = number;
      }
      more ||= ends.running > 0;
      await new Promise((wake) => setTimeout(wake, 250));
    } while (more || asking);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    // So says fetch of a server that is not there: the next question follows again.
  } finally {
    following = false;
  }
}

async function ask(prompt) {
  asking?.abort();
  const mine = (asking = new AbortController());
  answer.replaceChildren();
  answer.setAttribute("aria-busy", "true");
  stop.disabled = false;
  follow();
  try {
    await read(`${form.action}?${new URLSearchParams({ prompt })}`, mine.signal);
  } catch (error) {
    if (error.name !== "AbortError") answer.append(` (${error.message})`);
  }
  // Another question may have taken over meanwhile.
  if (asking !== mine) return;
  asking = null;
  answer.setAttribute("aria-busy", "false");
  stop.disabled = true;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask(form.elements.prompt.value);
});

stop.addEventListener("click", () => asking?.abort());

document.querySelector("#ideas").addEventListener("click", (event) => {
  if (event.target.matches("button")) {
    form.elements.prompt.value = event.target.textContent;
    form.requestSubmit();
  }
});
