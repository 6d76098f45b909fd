// The search runs in a worker, and browsers let no page start one that was opened as a file.
// There a hidden frame does the worker's work.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    #inside;
    #waiting = [];

    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inside = frame.contentWindow;
      inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      inside.importScripts = () => {};
      const script = inside.document.createElement("script");
      script.src = new URL(url, location.href).href;
      script.addEventListener("load", () => {
        this.#inside = inside;
        this.#waiting.splice(0).forEach((data) => this.#deliver(data));
      });
      inside.document.body.append(script);
    }

    postMessage(data) {
      if (this.#inside) this.#deliver(data);
      else this.#waiting.push(data);
    }

    #deliver(data) {
      this.#inside.dispatchEvent(new MessageEvent("message", { data }));
    }
  };
}
