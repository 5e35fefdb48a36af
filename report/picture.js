// A sandboxed frame that is out of sight is not laid out, and Porcupine's page measures its texts when it loads: load it when it is seen.
for (const frame of document.querySelectorAll("iframe[data-page]")) {
  new IntersectionObserver((entries, observer) => {
    if (!entries.some((e) => e.isIntersecting)) return;
    observer.disconnect();
    frame.srcdoc = frame.dataset.page;
  }).observe(frame);
}
