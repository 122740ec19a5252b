"use strict";

const $ = (id) => document.getElementById(id);
const hasPicture = document.body.dataset.picture === "yes";
const SVG = "http://www.w3.org/2000/svg";
const STALE = 3; // seconds without a frame

let colours = {}; // emotion → #rrggbb
let paused = false;
let connected = false;
let lastFrame = null; // the number of the latest frame, and when it came
let lastCame = 0;

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function drawn(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function write(node, text) { // only what changed: screen readers and selections stay where they are
  if (node.textContent !== text) node.textContent = text;
}

/* A small face for each emotion, so that colour is never the only sign. */
const MOUTHS = {
  happy: "M10 19.5c2.4 4 9.6 4 12 0z",
  sad: "M11 22.5c2.2-3 7.8-3 10 0",
  angry: "M11 22c2.2-2 7.8-2 10 0",
  surprise: "M16 17.8a2.9 3.4 0 1 0 .01 0z",
  fear: "M10.5 21.5c1.4-2 2.6 1.6 4 0s2.6 1.6 4 0 2 .6 3 0",
  disgust: "M11 20.5c2 1.5 3 -1.5 5 0s3 1.5 5 -1",
  neutral: "M11 21h10",
};
const BROWS = {
  angry: "M9.5 9.5l4.5 2M22.5 9.5l-4.5 2",
  sad: "M9.5 11.2l4-1.7M22.5 11.2l-4-1.7",
  fear: "M9.5 10.5l4-1.5M22.5 10.5l-4-1.5",
  surprise: "M9.5 9.5c1-1.5 3-1.5 4 0M18.5 9.5c1-1.5 3-1.5 4 0",
};

function glyph(emotion) {
  const svg = drawn("svg", { viewBox: "0 0 32 32", class: "glyph", "aria-hidden": "true" });
  const fill = colours[emotion] || "#b2b2b2";
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(fill.slice(i, i + 2), 16) / 255);
  const ink = 0.2126 * r ** 2.2 + 0.7152 * g ** 2.2 + 0.0722 * b ** 2.2 > 0.18 ? "#000" : "#fff";
  svg.append(drawn("circle", { cx: 16, cy: 16, r: 15, fill, stroke: "#1b1f25", "stroke-width": 1.5 }));
  const line = { fill: "none", stroke: ink, "stroke-width": 2, "stroke-linecap": "round", "stroke-linejoin": "round" };
  if (emotion in MOUTHS) {
    svg.append(drawn("circle", { cx: 11.5, cy: 13.5, r: 1.6, fill: ink }));
    svg.append(drawn("circle", { cx: 20.5, cy: 13.5, r: 1.6, fill: ink }));
    svg.append(drawn("path", { d: MOUTHS[emotion], ...line }));
    if (BROWS[emotion]) svg.append(drawn("path", { d: BROWS[emotion], ...line, "stroke-width": 1.6 }));
  } else {
    const sign = drawn("text", { x: 16, y: 22.5, "text-anchor": "middle", "font-size": 18, "font-weight": 700, fill: ink });
    sign.textContent = emotion === "uncertain" ? "?" : emotion.slice(0, 1).toUpperCase();
    svg.append(sign);
  }
  return svg;
}

function duration(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min${seconds < 600 ? ` ${Math.floor(seconds % 60)} s` : ""}`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} days`;
}

const percent = (share) => `${Math.round(100 * share)}\u00a0%`;

/* The faces in view; one list item a face for as long as it is there. */
const items = new Map();

function showFaces(message) {
  if (message.frame !== lastFrame) {
    lastFrame = message.frame;
    lastCame = performance.now();
  }
  const present = new Set(message.faces.map((face) => face.id));
  for (const [id, item] of items) {
    if (!present.has(id)) {
      item.remove();
      items.delete(id);
    }
  }
  for (const face of message.faces) {
    let item = items.get(face.id);
    if (!item) {
      item = element("li");
      item.append(element("span", "emotion"), element("span", "confidence"), element("span", "about"));
      const bar = element("span", "bar");
      bar.append(element("span"));
      bar.setAttribute("aria-hidden", "true");
      item.append(bar);
      items.set(face.id, item);
      $("faces").append(item);
    }
    const known = `${face.emotion} ${colours[face.emotion] || ""}`;
    if (item.dataset.drawn !== known) {
      item.dataset.drawn = known;
      item.querySelector(".glyph")?.remove();
      item.prepend(glyph(face.emotion));
    }
    const [second] = Object.entries(face.scores).filter(([name]) => name !== face.emotion).sort((a, b) => b[1] - a[1]);
    write(item.querySelector(".emotion"), face.emotion);
    write(item.querySelector(".confidence"), percent(face.confidence));
    const rival = face.emotion === "uncertain" ? `perhaps ${second[0]}` : `next ${second[0]} ${percent(second[1])}`;
    write(item.querySelector(".about"), `Face ${face.id} · for ${duration(message.seconds[face.id] || 0)} · ${rival}`);
    const fill = item.querySelector(".bar > span");
    fill.style.width = `${100 * face.confidence}%`;
    fill.style.background = colours[face.emotion] || "#b2b2b2";
  }
  $("no-faces").hidden = message.faces.length > 0;
  say(message.faces);
}

/* What a screen reader says: changes only, and not more often than one can listen to. */
let saidAt = -Infinity;

function say(faces) {
  const who = faces.map((face) => `face ${face.id} ${face.emotion}`).join(", ");
  const now = performance.now();
  if (now - saidAt > 4000 && $("said").textContent !== (who || "no face in view")) {
    saidAt = now;
    write($("said"), who || "no face in view");
  }
}

function fact(name, value, warn) {
  const list = $("device");
  let term = [...list.querySelectorAll("dt")].find((each) => each.textContent === name);
  if (value === null) {
    term?.nextSibling.remove();
    term?.remove();
    return;
  }
  if (!term) {
    term = element("dt", "", name);
    list.append(term, element("dd"));
  }
  write(term.nextSibling, value);
  term.nextSibling.className = warn ? "warn" : "";
}

function showStatus(status) {
  if (!status.emotions) return; // the run hasn't begun
  const known = Object.keys(colours).length;
  colours = status.emotions;
  if (Object.keys(colours).length !== known) refreshHour(); // its lanes have their colours now
  write($("fps"), status.fps.toFixed(1));
  const body = $("stages").tBodies[0];
  for (const [stage, ms] of Object.entries(status.stages_ms)) {
    let row = [...body.rows].find((each) => each.dataset.stage === stage);
    if (!row) {
      row = body.insertRow();
      row.dataset.stage = stage;
      const head = element("th", "", stage);
      head.scope = "row";
      row.append(head, element("td"), element("td"));
    }
    write(row.cells[1], ms ? ms.toFixed(ms < 1 ? 2 : 1) : "–");
    write(row.cells[2], ms ? (ms < 1 ? "over 1000" : String(Math.round(1000 / ms))) : "–");
  }
  const lost = Object.values(status.dropped).reduce((sum, count) => sum + count, 0);
  const hot = status.throttled !== null && status.throttled !== "no";
  const degrees = status.temperature_c;
  fact("Temperature", degrees === null ? null : `${degrees.toFixed(0)} °C`, degrees >= 80);
  fact("Throttled", status.throttled, hot);
  fact("Model", status.model);
  fact("Mien", status.version);
  fact("Source", status.source || null);
  fact("Running for", duration(status.uptime_s));
  fact("Frames", `${status.frames.toLocaleString()}${lost ? `, ${lost.toLocaleString()} left out` : ""}`);
  fact("Camera restarts", status.camera_restarts ? String(status.camera_restarts) : null, true);
  const errors = Object.entries(status.sink_errors).filter(([, count]) => count);
  fact("Failed outputs", errors.length ? errors.map(([name, count]) => `${name} ${count} ×`).join(", ") : null, true);
}

/* The last hour: a lane for each emotion, a bar for each minute. */
function showHour(history) {
  const body = $("hour").tBodies[0];
  const totals = {};
  let most = 60;
  for (const step of history.steps) {
    for (const [emotion, seconds] of Object.entries(step.emotions)) {
      totals[emotion] = (totals[emotion] || 0) + seconds;
      most = Math.max(most, seconds);
    }
  }
  const read = Object.keys(totals).length > 0;
  const names = read ? [...new Set([...Object.keys(colours), ...Object.keys(totals)])] : [];
  body.replaceChildren();
  for (const name of names) {
    const row = body.insertRow();
    const head = element("th");
    const both = element("span");
    head.scope = "row";
    both.append(glyph(name), element("span", "", name));
    head.append(both);
    const count = history.steps.length;
    const lane = drawn("svg", { class: "lane", viewBox: `0 0 ${count * 10} 32`, preserveAspectRatio: "none", "aria-hidden": "true" });
    history.steps.forEach((step, i) => {
      const seconds = step.emotions[name] || 0;
      if (!seconds) return;
      const height = Math.max(2, (28 * seconds) / most);
      lane.append(drawn("rect", { x: i * 10 + 1, y: 30 - height, width: 8, height, fill: colours[name] || "#b2b2b2" }));
    });
    const course = element("td");
    course.append(lane);
    row.append(head, course, element("td", "", name in totals ? duration(totals[name]) : "–"));
    // Said again, since narrow screens lay the cells out otherwise, and browsers forget the table then.
    row.setAttribute("role", "row");
    head.setAttribute("role", "rowheader");
    for (const cell of [course, row.lastChild]) cell.setAttribute("role", "cell");
  }
  $("axis").hidden = !read;
  $("no-hour").hidden = read;
}

async function refreshHour() {
  if (!connected || document.hidden) return;
  try {
    const answer = await fetch("/api/v1/history");
    if (answer.ok) showHour(await answer.json());
  } catch { /* the stream tells of a lost connection */ }
}

/* The picture: fetched only while it can be seen, so that the device need not encode it. */
function showPicture() {
  const image = $("picture");
  const wanted = hasPicture && connected && !paused && !document.hidden;
  if (wanted && !image.getAttribute("src")) {
    image.src = `/picture.mjpeg?${Date.now()}`;
  } else if (!wanted && image.getAttribute("src")) {
    image.removeAttribute("src");
    image.hidden = true;
  }
  $("still").hidden = !paused;
  $("no-picture").hidden = paused || !image.hidden;
}

function togglePause() {
  const image = $("picture");
  const still = $("still");
  paused = !paused;
  if (paused && image.naturalWidth) {
    still.width = image.naturalWidth;
    still.height = image.naturalHeight;
    still.getContext("2d").drawImage(image, 0, 0);
  }
  write($("pause"), paused ? "Go on" : "Pause");
  showPicture();
}

function showState() {
  const idle = (performance.now() - lastCame) / 1000;
  let [state, words] = ["live", "Live"];
  if (!connected) [state, words] = ["lost", "Not connected, trying again"];
  else if (lastFrame === null) [state, words] = ["waiting", "Waiting for the camera"];
  else if (idle > STALE) [state, words] = ["stale", "No new frames"];
  $("state").dataset.state = state;
  write($("state"), words);
}

function connect() {
  const stream = new EventSource("/api/v1/stream");
  stream.addEventListener("open", () => {
    connected = true;
    showPicture();
    refreshHour();
    showState();
  });
  stream.addEventListener("faces", (event) => showFaces(JSON.parse(event.data)));
  stream.addEventListener("status", (event) => showStatus(JSON.parse(event.data)));
  stream.addEventListener("error", () => {
    connected = false;
    stream.close();
    showPicture();
    showState();
    setTimeout(reconnect, 2000);
  });
}

async function reconnect() {
  try {
    const answer = await fetch("/api/v1/faces");
    if (answer.status === 401) {
      location.assign("/login");
      return;
    }
  } catch { /* not there yet */ }
  connect();
}

$("picture").addEventListener("load", () => {
  if (!$("picture").getAttribute("src")) return;
  $("picture").hidden = false;
  $("pause").hidden = false;
  $("no-picture").hidden = true;
});
$("picture").addEventListener("error", () => {
  if (!$("picture").getAttribute("src")) return;
  $("picture").removeAttribute("src");
  $("picture").hidden = true;
  showPicture();
});
$("pause").addEventListener("click", togglePause);
document.addEventListener("visibilitychange", () => { showPicture(); refreshHour(); });
$("logout").hidden = document.body.dataset.login !== "yes";
if (!hasPicture) write($("no-picture"), "This device sends no picture, only what it reads in it");
setInterval(showState, 1000);
setInterval(showPicture, 5000);
setInterval(refreshHour, 10000);
connect();
