// Segments a picture on the visitor's machine. `tools/in_browser.py` makes the files that lie beside
// the page: ONNX Runtime Web, the network with its JSON, colours of the importance map, samples.

const LARGEST_FILE = 30e6; // bytes
const LARGEST_PICTURE = 60e6; // pixels
const SMALLEST_SIDE = 64;
const COMPUTED = 360 * 480; // pixels that the network sees at most: those that it was trained on
const SHOWN = 960; // pixels of the longer side on the page

const root = document.getElementById("in-browser");
const part = Object.fromEntries(
  [...root.querySelectorAll("[data-part]")].map((element) => [element.dataset.part, element]),
);
const drop = root.querySelector(".in-browser-drop");

let loading; // the promise of runtime and network, once a picture was given
let turn = 0; // counts the pictures: an answer to an older one is dropped
let shown = null; // what is on the page, see `segment`
let point = null; // [x, y] in the pixels that were computed

// Runtime and network ---------------------------------------------------------------------------

const beside = (name) => new URL(name, document.baseURI).href;

async function fetched(name) {
  const answer = await fetch(beside(name));
  if (!answer.ok) throw new Error(`${name}: ${answer.status} ${answer.statusText}`);
  return answer;
}

async function load() {
  const [ort, network, facts, heat] = await Promise.all([
    import(beside("ort.wasm.min.mjs")),
    fetched("network.onnx").then((answer) => answer.arrayBuffer()),
    fetched("network.onnx.json").then((answer) => answer.json()),
    fetched("heat.json").then((answer) => answer.json()),
  ]);
  ort.env.wasm.wasmPaths = beside("./");
  ort.env.wasm.proxy = true; // computes in a worker: the page goes on living
  ort.env.wasm.numThreads = 1; // more need headers that a static site cannot count on
  const session = await ort.InferenceSession.create(network, { executionProviders: ["wasm"] });
  part.heat.style.background = `linear-gradient(to right, ${heat
    .filter((_, i) => i % 17 === 0)
    .map((color) => `rgb(${color})`)})`;
  return { ort, session, facts, heat };
}

// From a file to labels -------------------------------------------------------------------------

class Refused extends Error {} // what the visitor can mend; the message is shown as it is

async function sample(name) {
  try {
    return new File([await (await fetched(name)).blob()], name);
  } catch (error) {
    throw new Refused(`It failed: ${error.message}`);
  }
}

async function decoded(file) {
  if (file.size > LARGEST_FILE) throw new Refused(`${file.name} is larger than 30 MB.`);
  try {
    return await createImageBitmap(file); // turned as the camera was held
  } catch {
    throw new Refused(`${file.name} is no picture that this browser can read.`);
  }
}

function computedSize(name, { width, height }) {
  if (width * height > LARGEST_PICTURE) {
    throw new Refused(`${name} has more than 60 megapixels (${width}x${height}).`);
  }
  const scale = Math.min(1, Math.sqrt(COMPUTED / (width * height)));
  if (Math.min(width, height) * scale < SMALLEST_SIDE) {
    throw new Refused(`${name} is too small or too narrow: ${width}x${height} pixels.`);
  }
  return [Math.round(width * scale), Math.round(height * scale)];
}

function canvasOf(width, height) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  return canvas;
}

// A picture at some size; what is transparent becomes white.
function scaled(bitmap, width, height) {
  const canvas = canvasOf(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  return canvas;
}

// RGB bytes of a picture at the size that is computed.
function pixelsOf(bitmap, width, height) {
  const context = scaled(bitmap, width, height).getContext("2d");
  const rgba = context.getImageData(0, 0, width, height).data;
  const rgb = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < rgb.length; from += 4) {
    rgb[to++] = rgba[from];
    rgb[to++] = rgba[from + 1];
    rgb[to++] = rgba[from + 2];
  }
  return rgb;
}

// Takes a file, or the promise of one.
async function segment(given) {
  const own = ++turn;
  let bitmap;
  try {
    const file = await given;
    bitmap = await decoded(file);
    if (own !== turn) return;
    const [width, height] = computedSize(file.name, bitmap);
    const size = `${width}x${height} pixels`;
    say(loading ? `Segmenting ${size} …` : "Loading runtime and network, about 13 MB, once …");
    loading ??= load();
    const { ort, session, facts, heat } = await loading;
    if (own !== turn) return;
    say(`Segmenting ${size} …`);
    const pixels = pixelsOf(bitmap, width, height);
    const start = performance.now();
    const images = new ort.Tensor("uint8", pixels, [1, height, width, 3]);
    const found = await session.run({ images });
    const milliseconds = Math.round(performance.now() - start);
    if (own !== turn) return;
    const { data, dims } = found.importance;
    shown = {
      ...{ name: file.name, width, height, milliseconds },
      labels: found.labels.data, // height x width
      importance: { data, height: dims[1], width: dims[2] }, // the cells, coarser than the pixels
      classes: facts.classes,
    };
    const enlarged = SHOWN / Math.max(width, height);
    shown.picture = scaled(bitmap, Math.round(width * enlarged), Math.round(height * enlarged));
    shown.pictures = { classes: labelPicture(shown), importance: heatPicture(shown, heat) };
    point = null;
    part.result.hidden = false;
    legend(shown);
    draw();
    read();
    say(`${file.name}: ${size} in ${milliseconds} ms, on one thread of this machine.`);
    root.segmented = shown; // for tests, and for the curious
  } catch (error) {
    if (!(error instanceof Refused)) loading = undefined; // another picture tries again
    if (own !== turn) return;
    say(error instanceof Refused ? error.message : `It failed: ${error.message}`, true);
  } finally {
    bitmap?.close(); // a large photo takes hundreds of megabytes
  }
}

// What is shown ---------------------------------------------------------------------------------

function say(text, fault = false) {
  part.status.textContent = text;
  part.status.classList.toggle("in-browser-fault", fault);
}

// A canvas whose pixels are coloured by a function of their index.
function painted(width, height, color) {
  const canvas = canvasOf(width, height);
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) image.data.set([...color(i), 255], 4 * i);
  context.putImageData(image, 0, 0);
  return canvas;
}

const labelPicture = ({ width, height, labels, classes }) =>
  painted(width, height, (i) => classes[labels[i]].color);

const heatPicture = ({ importance: { data, width, height } }, heat) =>
  painted(width, height, (i) => heat[Math.round(Math.min(1, Math.max(0, data[i])) * 255)]);

function draw() {
  const { picture, pictures, width, height } = shown;
  const canvas = part.canvas;
  const scale = SHOWN / Math.max(width, height);
  [canvas.width, canvas.height] = [picture.width, picture.height];
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0);
  const view = root.querySelector("input[type=radio]:checked").value;
  part.scale.hidden = view !== "importance";
  if (view !== "picture") {
    context.globalAlpha = part.opacity.value / 100;
    context.imageSmoothingEnabled = view === "importance";
    context.drawImage(pictures[view], 0, 0, canvas.width, canvas.height);
    context.globalAlpha = 1;
  }
  if (point) cross(context, (point[0] + 0.5) * scale, (point[1] + 0.5) * scale);
}

function cross(context, x, y) {
  for (const [color, width] of [["black", 5], ["white", 2]]) {
    [context.strokeStyle, context.lineWidth] = [color, width];
    context.beginPath();
    context.arc(x, y, 10, 0, 2 * Math.PI);
    context.stroke();
  }
}

function legend({ labels, classes }) {
  const counts = new Array(classes.length).fill(0);
  for (const label of labels) counts[label]++;
  const rows = classes
    .map(({ name, color }, id) => ({ name, color, share: counts[id] / labels.length }))
    .sort((a, b) => b.share - a.share)
    .map(({ name, color, share }) => {
      const row = document.createElement("tr");
      const swatch = document.createElement("i");
      swatch.style.background = `rgb(${color})`;
      row.insertCell().append(swatch, name);
      row.insertCell().textContent = `${(100 * share).toFixed(1)} %`;
      return row;
    });
  part.legend.replaceChildren(...rows);
}

// Tells class and importance of the point.
function read() {
  if (!point) {
    part.point.textContent = "Point at the picture, or give it the focus and use the arrow keys.";
    return;
  }
  const { width, height, labels, classes, importance } = shown;
  const [x, y] = point;
  const column = Math.floor((x / width) * importance.width);
  const row = Math.floor((y / height) * importance.height);
  const score = importance.data[row * importance.width + column].toFixed(2);
  part.point.textContent = `${classes[labels[y * width + x]].name}, importance ${score}, at ${x}, ${y}`;
}

function pointAt(x, y) {
  const within = (value, size) => Math.min(size - 1, Math.max(0, Math.floor(value)));
  point = [within(x, shown.width), within(y, shown.height)];
  draw();
  read();
}

// What the visitor does -------------------------------------------------------------------------

part.file.addEventListener("change", () => {
  if (part.file.files.length) segment(part.file.files[0]);
  part.file.value = ""; // the same file can be chosen again
});

for (const button of root.querySelectorAll("[data-sample]")) {
  button.addEventListener("click", () => segment(sample(button.dataset.sample)));
}

// A picture may be dropped anywhere on the tool; the browser would open it otherwise.
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  root.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("in-browser-over", kind === "dragenter" || kind === "dragover");
    const file = kind === "drop" && event.dataTransfer.files[0];
    if (file) segment(file);
    else if (kind === "drop") say("What was dropped is no file.", true);
  });
}

root.addEventListener("input", (event) => {
  if (shown && event.target !== part.file) draw();
});

for (const kind of ["pointermove", "pointerdown"]) {
  part.canvas.addEventListener(kind, (event) => {
    const box = part.canvas.getBoundingClientRect();
    const { width, height } = shown;
    pointAt(
      ((event.clientX - box.left) / box.width) * width,
      ((event.clientY - box.top) / box.height) * height,
    );
  });
}

part.canvas.addEventListener("keydown", (event) => {
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const step = steps[event.key];
  if (!step) return;
  event.preventDefault(); // the page does not scroll
  const [x, y] = point ?? [shown.width >> 1, shown.height >> 1];
  const size = event.shiftKey ? 20 : 4;
  pointAt(x + size * step[0], y + size * step[1]);
});
