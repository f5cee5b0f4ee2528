// The image with its masks. Boxes and points are drawn on it with mouse, touch or keys. Coordinates are image pixels.

import { cssColor, tinted } from "/masks.js";

const DRAG_PX = 5;
const STEP_PX = 10;

export class Stage {
  /** `on` has point(xy, isInside) and box(xyxy). */
  constructor(canvas, on) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.on = on;
    this.sizeWh = [640, 480];
    this.image = null;
    this.layers = [];
    this.marks = [];
    this.opacity = 0.45;
    this.isMasked = true;
    this.cross = null;
    this.corner = null;
    this.drag = null;
    this.drawings = 0;
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", () => this.stopDrag());
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => { this.cross = this.corner = null; this.draw(); });
  }

  /**
   * Show an image (bitmap or null) of `sizeWh` pixels with layers [{mask, index, isOn}] and marks [{box, points, labels}].
   * Returns false if a newer image was shown in the meantime.
   */
  async show(image, sizeWh, layers, marks = []) {
    this.drawings += 1;
    const drawing = this.drawings;
    const tints = await Promise.all(layers.map((layer) => (layer.isOn ? tinted(layer.mask, layer.index) : null)));
    if (drawing !== this.drawings) return false;
    this.image = image;
    this.sizeWh = sizeWh;
    this.layers = layers.map((layer, at) => ({ ...layer, tint: tints[at] })).filter((layer) => layer.tint);
    this.marks = marks;
    this.draw();
    return true;
  }

  draw() {
    const { canvas, context } = this;
    const [width, height] = this.sizeWh;
    const wide = this.image ? this.image.width : Math.min(width, 960);
    const high = Math.max(1, Math.round((wide * height) / width));
    if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, wide, high);
    if (this.image) context.drawImage(this.image, 0, 0, wide, high);
    context.setTransform(wide / width, 0, 0, high / height, 0, 0);
    const line = width / (canvas.clientWidth || wide);
    if (this.isMasked) {
      context.globalAlpha = this.opacity;
      for (const { tint, mask } of this.layers) context.drawImage(tint, mask.x, mask.y, mask.width, mask.height);
      context.globalAlpha = 1;
      context.lineWidth = 1.5 * line;
      for (const { mask, index } of this.layers) {
        context.strokeStyle = cssColor(index);
        context.strokeRect(mask.x, mask.y, mask.width, mask.height);
      }
    }
    this.drawMarks(line);
  }

  drawMarks(line) {
    const { context } = this;
    context.lineWidth = 2 * line;
    for (const { box, points, labels } of this.marks) {
      context.strokeStyle = "#ffffff";
      context.setLineDash([6 * line, 4 * line]);
      if (box) context.strokeRect(box[0], box[1], box[2] - box[0], box[3] - box[1]);
      context.setLineDash([]);
      (points || []).forEach(([x, y], at) => {
        context.beginPath();
        context.arc(x, y, 5 * line, 0, 7);
        context.fillStyle = labels[at] ? "#1ec86b" : "#e5352b";
        context.fill();
        context.strokeStyle = "#ffffff";
        context.stroke();
      });
    }
    context.strokeStyle = "#ffd400";
    const dragged = this.drag && this.drag.box;
    const growing = this.corner && this.cross ? ordered(this.corner, this.cross) : null;
    for (const box of [dragged, growing]) {
      if (box) context.strokeRect(box[0], box[1], box[2] - box[0], box[3] - box[1]);
    }
    if (this.cross) {
      const [x, y] = this.cross;
      context.beginPath();
      context.moveTo(x - 12 * line, y);
      context.lineTo(x + 12 * line, y);
      context.moveTo(x, y - 12 * line);
      context.lineTo(x, y + 12 * line);
      context.stroke();
    }
  }

  /** Whether a box is being drawn. */
  get isBusy() {
    return this.drag !== null || this.corner !== null;
  }

  at(event) {
    const place = this.canvas.getBoundingClientRect();
    const [width, height] = this.sizeWh;
    const x = ((event.clientX - place.left) / place.width) * width;
    const y = ((event.clientY - place.top) / place.height) * height;
    return [Math.min(Math.max(x, 0), width), Math.min(Math.max(y, 0), height)];
  }

  down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.drag = { from: this.at(event), screen: [event.clientX, event.clientY], box: null };
  }

  move(event) {
    if (!this.drag) return;
    const [x, y] = this.drag.screen;
    if (this.drag.box || Math.hypot(event.clientX - x, event.clientY - y) > DRAG_PX) {
      this.drag.box = ordered(this.drag.from, this.at(event));
      this.draw();
    }
  }

  up(event) {
    const { drag } = this;
    this.stopDrag();
    if (!drag) return;
    if (drag.box) this.giveBox(drag.box);
    else this.on.point(drag.from, event.button !== 2 && !event.shiftKey);
  }

  stopDrag() {
    this.drag = null;
    this.draw();
  }

  giveBox(box) {
    if (box[2] - box[0] >= 1 && box[3] - box[1] >= 1) this.on.box(box);
  }

  key(event) {
    const [width, height] = this.sizeWh;
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const step = steps[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (step) {
      const [x, y] = this.cross || [width / 2, height / 2];
      const far = event.shiftKey ? 1 : STEP_PX;
      this.cross = [Math.min(Math.max(x + far * step[0], 0), width), Math.min(Math.max(y + far * step[1], 0), height)];
    } else if (event.key === "Enter" && this.cross) this.on.point(this.cross, true);
    else if (event.key.toLowerCase() === "x" && this.cross) this.on.point(this.cross, false);
    else if (event.key.toLowerCase() === "b" && this.cross) {
      if (this.corner) {
        const box = ordered(this.corner, this.cross);
        this.corner = null;
        this.giveBox(box);
      } else this.corner = this.cross;
    } else if (event.key === "Escape") this.cross = this.corner = null;
    else return;
    event.preventDefault();
    event.stopPropagation();
    this.draw();
  }
}

function ordered([x1, y1], [x2, y2]) {
  return [Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)];
}
