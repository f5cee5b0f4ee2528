// The connection to the console: requests with replies, messages, and live images. It reconnects automatically.

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 5000;
const HEADER_BYTES = 16;

export class Link {
  /** `on` has message(values), image(bitmap, stampNs, sizeWh) and state(isConnected). */
  constructor(on) {
    this.on = on;
    this.number = 0;
    this.open = new Map();
    this.waitMs = FIRST_WAIT_MS;
    document.addEventListener("visibilitychange", () => this.drawn());
    this.connect();
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/live`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.waitMs = FIRST_WAIT_MS;
      this.on.state(true);
    };
    socket.onmessage = (event) => {
      if (typeof event.data === "string") this.receive(JSON.parse(event.data));
      else this.draw(event.data);
    };
    socket.onclose = () => {
      this.on.state(false);
      for (const { reject } of this.open.values()) reject(new Error("the connection ended; try again"));
      this.open.clear();
      setTimeout(() => this.connect(), this.waitMs);
      this.waitMs = Math.min(2 * this.waitMs, LONGEST_WAIT_MS);
    };
    this.socket = socket;
    this.isOwed = false;
  }

  /** The result of a request. Rejects with an Error that holds the reason if the console refuses it. */
  request(name, values = {}) {
    return new Promise((resolve, reject) => {
      if (this.socket.readyState !== WebSocket.OPEN) {
        reject(new Error("not connected to the console; wait a moment"));
        return;
      }
      this.number += 1;
      this.open.set(this.number, { resolve, reject });
      this.socket.send(JSON.stringify({ ...values, do: name, request: this.number }));
    });
  }

  receive(values) {
    if (values.type !== "reply") {
      this.on.message(values);
      return;
    }
    const asked = this.open.get(values.request);
    if (!asked) return;
    this.open.delete(values.request);
    if (values.error === undefined) asked.resolve(values.result);
    else asked.reject(new Error(values.error));
  }

  async draw(data) {
    const view = new DataView(data);
    const sizeWh = [view.getUint32(8, true), view.getUint32(12, true)];
    try {
      const bitmap = await createImageBitmap(new Blob([new Uint8Array(data, HEADER_BYTES)], { type: "image/jpeg" }));
      await this.on.image(bitmap, view.getBigUint64(0, true).toString(), sizeWh);
    } finally {
      this.isOwed = true;
      this.drawn();
    }
  }

  /** Request the next image, unless the page is hidden. */
  drawn() {
    if (this.isOwed && !document.hidden && this.socket.readyState === WebSocket.OPEN) {
      this.isOwed = false;
      this.socket.send("drawn");
    }
  }
}
