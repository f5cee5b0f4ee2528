// The targets of one image: the answer's regions, and those that are drawn or corrected by boxes and points.

/** Targets of an entry, each with its mask, whether it belongs to the truth, and the prompts that made it. */
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

  /** Before every change. */
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

  /** A new target with this box, or none yet. */
  add(box) {
    const index = this.targets.length;
    this.targets.push({
      index, name: `drawn ${index + 1}`, piece: null, mask: null, box, points: [], labels: [], isOn: true, isShown: true,
      region: null,
    });
    this.selected = index;
    return index;
  }

  /** The target whose mask has this point in its box, the smallest; -1 if there is none. */
  under([x, y]) {
    const area = ({ mask }) => mask.width * mask.height;
    const hit = this.targets.filter(
      ({ mask, isOn }) =>
        isOn && mask && x >= mask.x && y >= mask.y && x < mask.x + mask.width && y < mask.y + mask.height,
    );
    return hit.length ? hit.sort((one, other) => area(one) - area(other))[0].index : -1;
  }

  /** Add a point to the selected target, else to the one under it, else to a new one. Its box grows with it. */
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

  /** Start a new target with a box; a selected one that has only points gets it. */
  box(box) {
    this.keep();
    const target = this.targets[this.selected];
    if (target && !target.box) {
      target.box = box;
      return this.selected;
    }
    return this.add(box);
  }

  /** What the node is asked for. */
  prompt(index) {
    const { box, points, labels } = this.targets[index];
    return { number: this.number, boxes_xyxy: box ? [box] : [], points_xy: points, labels };
  }

  /** A mask came for the prompts of a target. */
  take(index, { piece, mask }) {
    const target = this.targets[index];
    if (target) this.targets[index] = { ...target, piece, mask, isOn: true };
  }
}
