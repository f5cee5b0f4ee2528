// Masks as tinted bitmaps: the PNG crop's grey value becomes the opacity.

export const COLORS = [
  [213, 41, 77], [23, 102, 194], [18, 138, 80], [214, 120, 0], [122, 60, 190], [0, 140, 150], [170, 110, 30], [200, 60, 160],
];

export const colorOf = (index) => COLORS[index % COLORS.length];
export const cssColor = (index) => `rgb(${colorOf(index).join(" ")})`;

const grey = new WeakMap();

/** The mask's crop as a canvas that is opaque inside the mask; null if it is empty. Each mask object is decoded once. */
export async function tinted(mask, index) {
  if (!mask || !mask.width || !mask.height) return null;
  let made = grey.get(mask);
  if (!made) {
    made = decode(mask);
    grey.set(mask, made);
  }
  const pixels = await made;
  const [red, green, blue] = colorOf(index);
  const out = new ImageData(new Uint8ClampedArray(pixels.data), pixels.width, pixels.height);
  for (let at = 0; at < out.data.length; at += 4) {
    out.data[at + 3] = out.data[at];
    out.data[at] = red;
    out.data[at + 1] = green;
    out.data[at + 2] = blue;
  }
  const canvas = new OffscreenCanvas(out.width, out.height);
  canvas.getContext("2d").putImageData(out, 0, 0);
  return canvas;
}

async function decode(mask) {
  const bytes = Uint8Array.from(atob(mask.png), (letter) => letter.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height);
}
