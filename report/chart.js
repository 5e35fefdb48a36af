(() => {
  const box = document.getElementById("charts"), tip = document.getElementById("tip");
  const plots = [...box.querySelectorAll(".plot")];
  const text = (sec, t) => {
    const s = run.seconds[sec] || [0, 0, 0, 0, "", ""];
    const lines = [`${t.toFixed(1)} s`, `ok ${s[0]}  weak ${s[1]}  info ${s[2]}  fail ${s[3]} in this second`];
    if (s[4]) lines.push(`p50 ${s[4]}, p99 ${s[5]}`);
    for (const f of run.faults) if (f[0] <= t * 1000 + 100 && t * 1000 - 100 <= f[1]) lines.push(f[2]);
    return lines.join("\n");
  };
  const hide = () => { tip.hidden = true; for (const p of plots) p.querySelector(".cursor").hidden = true; };
  for (const plot of plots) {
    plot.addEventListener("pointerleave", hide);
    plot.addEventListener("pointermove", (e) => {
      const r = plot.getBoundingClientRect(), b = box.getBoundingClientRect();
      const at = Math.min(Math.max((e.clientX - r.left) / r.width, 0), 1), t = at * run.end / 1000;
      for (const p of plots) { const c = p.querySelector(".cursor"); c.hidden = false; c.style.left = `${at * 100}%`; }
      tip.textContent = text(Math.floor(t), t);
      tip.hidden = false;
      const x = e.clientX - b.left, right = x + 24 + tip.offsetWidth > b.width;
      tip.style.left = `${right ? x - 14 - tip.offsetWidth : x + 14}px`;
      tip.style.top = `${e.clientY - b.top + 14}px`;
    });
  }
})();
