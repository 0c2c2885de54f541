// Six requests to the async view at the same time: a browser opens no more to one HTTP/1.1 server.
"use strict";

const RUNNERS = 6;
const form = document.querySelector("#race");
const track = document.querySelector("#track");
const verdict = document.querySelector("#verdict");

async function run(url, seconds) {
  const lane = document.createElement("li");
  const bar = Object.assign(document.createElement("progress"), { max: seconds, value: 0 });
  const time = document.createElement("span");
  bar.setAttribute("aria-label", "Time waited");
  lane.append(bar, time);
  track.append(lane);

  const started = performance.now();
  let arrived = false;
  const draw = () => {
    if (arrived) return;
    // The view decides when it is over: until then the bar stays short of full.
    bar.value = Math.min((performance.now() - started) / 1000, seconds * 0.98);
    requestAnimationFrame(draw);
  };
  draw();
  try {
    const response = await fetch(url, { cache: "no-store" });
    const { waited } = await response.json();
    bar.value = seconds;
    time.textContent = `${waited.toFixed(2)} s`;
  } catch {
    time.textContent = "failed";
  } finally {
    arrived = true;
  }
}

form.elements.wait.addEventListener("input", (event) => {
  document.querySelector("#chosen").value = `${event.target.value} s`;
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  const seconds = Number(form.elements.wait.value);
  const query = new URLSearchParams({ wait: seconds, format: "json" });
  button.disabled = true;
  track.replaceChildren();
  verdict.textContent = "";
  const started = performance.now();
  // The lane makes each address its own: a browser lets equal requests queue for its cache.
  const lanes = Array.from({ length: RUNNERS }, (_, lane) => `${form.action}?${query}&lane=${lane}`);
  await Promise.all(lanes.map((url) => run(url, seconds)));
  const took = ((performance.now() - started) / 1000).toFixed(2);
  verdict.textContent = `${RUNNERS * seconds} seconds of waiting took ${took} s.`;
  button.disabled = false;
});
