// QR codes (ISO/IEC 18004) as SVG: byte mode, error correction level L, versions 1 to 6 (at most 134 bytes).

const SVG = 'http://www.w3.org/2000/svg';
const QUIET_ZONE = 4;

/** Per version: data codewords, error correction codewords per block, blocks. */
const VERSIONS = [null, [19, 7, 1], [34, 10, 1], [55, 15, 1], [80, 20, 1], [108, 26, 1], [136, 18, 2]];

/** The QR code of a text, or `null` if the text is too long. */
export function qrPicture(text, label) {
  const modules = qrModules(text);
  if (!modules) return null;
  const size = modules.length + 2 * QUIET_ZONE;
  const dots = modules.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x + QUIET_ZONE} ${y + QUIET_ZONE}h1v1h-1z` : '')));
  const svg = document.createElementNS(SVG, 'svg');
  const set = (element, attributes) => Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
  const ground = svg.appendChild(document.createElementNS(SVG, 'path'));
  const code = svg.appendChild(document.createElementNS(SVG, 'path'));
  set(svg, { class: 'qr', viewBox: `0 0 ${size} ${size}`, role: 'img', 'aria-label': label, 'shape-rendering': 'crispEdges' });
  set(ground, { d: `M0 0h${size}v${size}h-${size}z`, fill: '#fff' });
  set(code, { d: dots.join(''), fill: '#000' });
  return svg;
}

/** Rows of booleans, `true` is dark; `null` if the text is too long. */
export function qrModules(text) {
  const bytes = [...new TextEncoder().encode(text)];
  // Mode and length take 12 bits.
  const version = VERSIONS.findIndex((entry) => entry && bytes.length * 8 + 12 <= entry[0] * 8);
  if (version < 0) return null;
  const bits = codewords(bytes, version).flatMap((word) => binary(word, 8));
  const candidates = [0, 1, 2, 3, 4, 5, 6, 7].map((mask) => draw(version, bits, mask));
  return candidates.reduce((best, next) => (penalty(next) < penalty(best) ? next : best));
}

function binary(number, length) {
  return Array.from({ length }, (_, index) => (number >> (length - 1 - index)) & 1);
}

/** The padded data and the error correction codewords, with interleaved blocks. */
function codewords(bytes, version) {
  const [capacity, correction, blocks] = VERSIONS[version];
  const bits = [...binary(4, 4), ...binary(bytes.length, 8), ...bytes.flatMap((byte) => binary(byte, 8))];
  bits.push(...binary(0, Math.min(4, capacity * 8 - bits.length)));
  while (bits.length % 8) bits.push(0);
  const data = [];
  for (let place = 0; place < bits.length; place += 8) data.push(parseInt(bits.slice(place, place + 8).join(''), 2));
  for (let pad = 0xec; data.length < capacity; pad ^= 0xec ^ 0x11) data.push(pad);
  const length = capacity / blocks;
  const parts = Array.from({ length: blocks }, (_, index) => data.slice(index * length, (index + 1) * length));
  const interleave = (lists) => lists[0].flatMap((_, index) => lists.map((list) => list[index]));
  return [...interleave(parts), ...interleave(parts.map((part) => remainder(part, correction)))];
}

/** Multiplication in GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1. */
function multiply(a, b) {
  let product = 0;
  for (let bit = 7; bit >= 0; bit--) product = (product << 1) ^ ((product >> 7) * 0x11d) ^ (((b >> bit) & 1) * a);
  return product;
}

/** The Reed-Solomon error correction codewords of the data. */
function remainder(data, degree) {
  const generator = Array(degree).fill(0);
  generator[degree - 1] = 1;
  for (let step = 0, root = 1; step < degree; step++, root = multiply(root, 2)) {
    for (let place = 0; place < degree; place++) generator[place] = multiply(generator[place], root) ^ (generator[place + 1] ?? 0);
  }
  const rest = Array(degree).fill(0);
  for (const word of data) {
    const factor = word ^ rest.shift();
    rest.push(0);
    generator.forEach((coefficient, place) => (rest[place] ^= multiply(coefficient, factor)));
  }
  return rest;
}

const MASKS = [
  (x, y) => (x + y) % 2,
  (x, y) => y % 2,
  (x) => x % 3,
  (x, y) => (x + y) % 3,
  (x, y) => (Math.floor(y / 2) + Math.floor(x / 3)) % 2,
  (x, y) => ((x * y) % 2) + ((x * y) % 3),
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2,
];

function draw(version, bits, mask) {
  const size = 17 + 4 * version;
  const modules = Array.from({ length: size }, () => Array(size).fill(null));
  const set = (x, y, dark) => x >= 0 && y >= 0 && x < size && y < size && (modules[y][x] = Boolean(dark));
  const square = (centreX, centreY, reach, isDark) => {
    for (let y = -reach; y <= reach; y++) {
      for (let x = -reach; x <= reach; x++) set(centreX + x, centreY + y, isDark(Math.max(Math.abs(x), Math.abs(y))));
    }
  };
  for (let place = 0; place < size; place++) {
    set(6, place, place % 2 === 0);
    set(place, 6, place % 2 === 0);
  }
  for (const [x, y] of [[3, 3], [size - 4, 3], [3, size - 4]]) square(x, y, 4, (ring) => ring !== 2 && ring !== 4);
  if (version > 1) square(size - 7, size - 7, 2, (ring) => ring !== 1);
  drawFormat(mask, size, set);
  fillZigzag(modules, bits, MASKS[mask]);
  return modules;
}

/** Draws both copies of the format information: level L and the mask, with a BCH code. */
function drawFormat(mask, size, set) {
  const data = (1 << 3) | mask;
  let rest = data;
  for (let step = 0; step < 10; step++) rest = (rest << 1) ^ ((rest >> 9) * 0x537);
  const format = ((data << 10) | rest) ^ 0x5412;
  for (let place = 0; place < 15; place++) {
    const dark = (format >> place) & 1;
    const near = place < 6 ? place : place < 8 ? place + 1 : null;
    if (near !== null) set(8, near, dark);
    else set(place === 8 ? 7 : 14 - place, 8, dark);
    if (place < 8) set(size - 1 - place, 8, dark);
    else set(8, size - 15 + place, dark);
  }
  set(8, size - 8, true);
}

/** Places the data bits: two columns at a time, from the right, alternately upward and downward. */
function fillZigzag(modules, bits, mask) {
  const size = modules.length;
  let next = 0;
  let isUpward = true;
  for (let right = size - 1; right >= 1; right -= 2, isUpward = !isUpward) {
    if (right === 6) right = 5;
    for (let step = 0; step < size; step++) {
      const y = isUpward ? size - 1 - step : step;
      for (const x of [right, right - 1]) {
        if (modules[y][x] === null) modules[y][x] = Boolean((bits[next++] ?? 0) ^ (mask(x, y) === 0));
      }
    }
  }
}

/** The penalty score of a mask: runs, blocks, finder-like patterns, imbalance. */
function penalty(modules) {
  const size = modules.length;
  const columns = modules.map((_, x) => modules.map((row) => row[x]));
  const lines = [...modules, ...columns].map((line) => line.map(Number).join(''));
  let sum = 0;
  for (const line of lines) {
    for (const [run] of line.matchAll(/0{5,}|1{5,}/g)) sum += run.length - 2;
    for (const pattern of ['10111010000', '00001011101']) sum += 40 * (line.split(pattern).length - 1);
  }
  for (let y = 1; y < size; y++) {
    for (let x = 1; x < size; x++) {
      const around = [modules[y][x], modules[y - 1][x], modules[y][x - 1], modules[y - 1][x - 1]];
      if (around.every((dark) => dark === around[0])) sum += 3;
    }
  }
  const dark = modules.flat().filter(Boolean).length;
  return sum + 10 * Math.floor(Math.abs((dark * 20) / (size * size) - 10));
}
