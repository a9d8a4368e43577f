"use strict";
(() => {
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const everything = document.getElementById("everything");
  const takes = [];

  // A browser allows only so many videos at once: those far from the window are let go.
  const near = new IntersectionObserver((entries) => entries.forEach((e) => {
    const take = takes.find((t) => t.element === e.target);
    if (e.isIntersecting !== take.loaded) take.load(e.isIntersecting);
  }), { rootMargin: "60% 0%" });
  const seen = new IntersectionObserver((entries) => entries.forEach((e) => {
    const take = takes.find((t) => t.element === e.target);
    take.visible = e.isIntersecting;
    take.update();
  }), { threshold: 0.2 });
  add(document);
  document.addEventListener("takes", (e) => add(e.target)); // takes that came later

  everything.addEventListener("click", () => {
    const wanted = !anyWanted();
    takes.forEach((t) => { t.wanted = wanted; t.update(); });
  });

  function add(root) {
    const found = [...root.querySelectorAll(".take")].map(setUp);
    takes.push(...found);
    found.forEach((t) => { near.observe(t.element); seen.observe(t.element); });
    everything.parentElement.hidden = takes.length === 0;
  }

  function setUp(element) {
    const videos = [...element.querySelectorAll("video")];
    const files = videos.map((v) => v.getAttribute("src"));
    const leader = videos[0];
    const button = element.querySelector(".play");
    const slider = element.querySelector("input");
    const counter = element.querySelector("output");
    const frames = Number(element.dataset.frames);
    const fps = Number(element.dataset.fps);
    const take = { element, wanted: !calm, visible: false, loaded: false };

    take.load = (loaded) => {
      take.loaded = loaded;
      videos.forEach((v, n) => {
        v.preload = "auto";
        if (loaded) {
          v.src = files[n];
        } else {
          v.removeAttribute("src"); // preload = "none" would not do: load() overrules it
          v.load();
        }
      });
      if (loaded) take.update();
    };
    take.update = () => {
      const playing = take.wanted && take.visible;
      videos.forEach((v) => {
        // play() is refused when a pause comes before the data: that pause was asked for.
        if (playing) v.play().catch(() => {});
        else v.pause();
      });
      button.textContent = take.wanted ? "Pause" : "Play";
      everything.textContent = anyWanted() ? "Pause all videos" : "Play all videos";
    };
    const show = () => {
      const frame = Math.min(frames - 1, Math.floor(leader.currentTime * fps + 0.01));
      slider.value = frame;
      slider.setAttribute("aria-valuetext", `frame ${frame + 1} of ${frames}`);
      counter.textContent = `${frame + 1} / ${frames}`;
    };

    videos.forEach((v) => { v.controls = false; });
    element.querySelector(".transport").hidden = false;
    button.addEventListener("click", () => { take.wanted = !take.wanted; take.update(); });
    slider.addEventListener("input", () => {
      take.wanted = false;
      take.update();
      videos.forEach((v) => { v.currentTime = (Number(slider.value) + 0.5) / fps; });
      counter.textContent = `${Number(slider.value) + 1} / ${frames}`;
    });
    leader.addEventListener("timeupdate", () => {
      if (leader.paused) return;
      show();
      const t = leader.currentTime;
      if (t < 0.15 || t > leader.duration - 0.15) return; // about to loop: nothing to compare with
      videos.slice(1).forEach((v) => {
        const alike = Math.abs(v.duration - leader.duration) < 0.15; // else it goes its own way
        if (alike && !v.seeking && Math.abs(v.currentTime - t) > 1.5 / fps) v.currentTime = t;
      });
    });
    return take;
  }

  function anyWanted() { return takes.some((t) => t.wanted); }

  document.querySelectorAll(".copy").forEach((button) => {
    const code = button.closest("figure").querySelector("code");
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code); // no clipboard without permission: ready for Ctrl+C
        button.textContent = "Selected";
      }
    });
  });
})();
