// The worker of the search. Browsers refuse workers to a page that was opened as a file: there its
// script runs in a hidden frame, which the theme knows by the name IFrameWorker. And the theme reads
// "-" before a word as "without it", so that --prompts would find nothing: such dashes are left out.
const QUERY = 2; // the theme's type of a message that asks

const asked = (message) =>
  message.type === QUERY
    ? { ...message, data: message.data.replace(/(^|\s)-+/g, "$1") }
    : message;

class FrameWorker extends EventTarget {
  constructor(url) {
    super();
    const frame = document.createElement("iframe");
    frame.hidden = true;
    document.body.append(frame);
    const scope = frame.contentWindow;
    const load = (source) =>
      new Promise((resolve) => {
        const script = scope.document.createElement("script");
        script.src = source;
        script.onload = resolve;
        scope.document.body.append(script);
      });
    scope.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
    scope.importScripts = async (...sources) => {
      for (const source of sources) await load(source);
    };
    const ready = load(url);
    this.postMessage = (message) =>
      ready.then(() => scope.dispatchEvent(new MessageEvent("message", { data: asked(message) })));
  }
}

window.IFrameWorker = FrameWorker;
window.Worker =
  location.protocol === "file:"
    ? FrameWorker
    : class extends Worker {
        postMessage(message) {
          super.postMessage(asked(message));
        }
      };
