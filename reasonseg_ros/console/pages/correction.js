// The targets of one image: the answer's regions, and those drawn or corrected with boxes and points.

/** The targets of an entry. Each has a mask, the prompts that made it, and whether it belongs to the ground truth. */
export class Correction {
  constructor(entry) {
    this.number = entry.number;
    this.targets = entry.regions.map((region, index) => ({
      index,
      name: region.label || `region ${index + 1}`,
      piece: region.piece,
      mask: region.mask,
      box: region.box_xyxy,
      points: [],
      labels: [],
      isOn: true,
      isShown: true,
      region,
    }));
    this.selected = this.targets.length === 1 ? 0 : -1;
    this.before = [];
  }

  get canUndo() {
    return this.before.length > 0;
  }

  get pieces() {
    return this.targets.filter((target) => target.isOn && target.mask).map((target) => target.piece);
  }

  /** Store the state for undo; called before every change. */
  keep() {
    const targets = this.targets.map((target) => ({ ...target, points: [...target.points], labels: [...target.labels] }));
    this.before.push({ targets, selected: this.selected });
  }

  undo() {
    const last = this.before.pop();
    if (last) [this.targets, this.selected] = [last.targets, last.selected];
  }

  select(index) {
    this.selected = this.selected === index ? -1 : index;
  }

  switchOn(index, isOn) {
    this.keep();
    this.targets[index] = { ...this.targets[index], isOn };
  }

  /** Add a target with this box, or null for none yet. Returns its index. */
  add(box) {
    const index = this.targets.length;
    this.targets.push({
      index, name: `drawn ${index + 1}`, piece: null, mask: null, box, points: [], labels: [], isOn: true, isShown: true,
      region: null,
    });
    this.selected = index;
    return index;
  }

  /** Index of the smallest target whose mask's box contains the point; -1 if there is none. */
  under([x, y]) {
    const area = ({ mask }) => mask.width * mask.height;
    const hit = this.targets.filter(
      ({ mask, isOn }) =>
        isOn && mask && x >= mask.x && y >= mask.y && x < mask.x + mask.width && y < mask.y + mask.height,
    );
    return hit.length ? hit.sort((one, other) => area(one) - area(other))[0].index : -1;
  }

  /** Add a point to the selected target, else to the one under it, else to a new one. Its box grows to contain the point. */
  point([x, y], isInside) {
    this.keep();
    if (this.selected < 0) this.selected = this.under([x, y]);
    if (this.selected < 0) this.add(null);
    const target = this.targets[this.selected];
    target.points = [...target.points, [x, y]];
    target.labels = [...target.labels, isInside ? 1 : 0];
    if (isInside && target.box) {
      const [x1, y1, x2, y2] = target.box;
      target.box = [Math.min(x1, x), Math.min(y1, y), Math.max(x2, x + 1), Math.max(y2, y + 1)];
    }
    return this.selected;
  }

  /** Give the box to the selected target if it has none, else to a new target. Returns the target's index. */
  box(box) {
    this.keep();
    const target = this.targets[this.selected];
    if (target && !target.box) {
      target.box = box;
      return this.selected;
    }
    return this.add(box);
  }

  /** The values of a `prompt` request for a target. */
  prompt(index) {
    const { box, points, labels } = this.targets[index];
    return { number: this.number, boxes_xyxy: box ? [box] : [], points_xy: points, labels };
  }

  /** Store the mask that the node made from a target's prompts. */
  take(index, { piece, mask }) {
    const target = this.targets[index];
    if (target) this.targets[index] = { ...target, piece, mask, isOn: true };
  }
}
