// A sandboxed frame that is out of sight is not laid out, and Porcupine's page measures its texts when it loads: load it when it is seen.
const loadSeen = () => {
  for (const frame of document.querySelectorAll("iframe[data-page]")) {
    const at = frame.getBoundingClientRect();
    if (at.bottom < 0 || at.top > innerHeight) continue;
    frame.srcdoc = frame.dataset.page;
    frame.removeAttribute("data-page");
  }
};
for (const event of ["load", "scroll", "resize"]) addEventListener(event, loadSeen, { passive: true });
