// The icons of the shop, drawn in a square of 24: they need no font and have the colour of the text.

const SVG = 'http://www.w3.org/2000/svg';

/** Outlines, drawn as lines. */
const LINES = {
  cart: 'M2.5 4h2.7l2.6 10.5h9.7l2.5-7.5H6M9 18.5a1 1 0 1 0 .01 0M16.5 18.5a1 1 0 1 0 .01 0',
  close: 'M6 6l12 12M18 6L6 18',
  down: 'M17 13.5V4h3v9.5zM17 13.5l-4 7.5c-1.6 0-2.4-1.1-2-2.6l.9-3.4H5.8c-1.3 0-2.1-1.1-1.8-2.3l1.6-6.9c.2-1 .9-1.8 1.9-1.8H17',
  globe: 'M12 3a9 9 0 1 0 .01 0M3 12h18M12 3c3 3 3.8 6 3.8 9s-.8 6-3.8 9c-3-3-3.8-6-3.8-9s.8-6 3.8-9',
  minus: 'M5 12h14',
  plus: 'M5 12h14M12 5v14',
  up: 'M7 10.5V20H4v-9.5zM7 10.5L11 3c1.6 0 2.4 1.1 2 2.6L12.1 9h6.1c1.3 0 2.1 1.1 1.8 2.3l-1.6 6.9c-.2 1-.9 1.8-1.9 1.8H7',
};

/** Shapes, filled. */
const SHAPES = {
  star: 'M12 2.4L14.5 9.1L21.7 9.4L16.1 13.9L18 20.9L12 16.9L6 20.9L7.9 13.9L2.3 9.4L9.5 9.1z',
};

/** An icon. It is decorative: the element around it says what it means. */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  const path = svg.appendChild(document.createElementNS(SVG, 'path'));
  const isShape = name in SHAPES;
  for (const [key, value] of [['class', `icon ${isShape ? 'shape' : 'lines'}`], ['viewBox', '0 0 24 24'], ['aria-hidden', 'true']]) svg.setAttribute(key, value);
  path.setAttribute('d', isShape ? SHAPES[name] : LINES[name]);
  return svg;
}
