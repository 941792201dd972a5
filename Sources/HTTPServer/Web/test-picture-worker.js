// Draws the test picture or only beats time for it. A worker, because browsers slow down the timers of hidden pages
// and a publisher is hidden as soon as somebody plays the stream in the next tab.

import { clockText, drawTestPattern } from "./test-pattern.js";

let settings = { width: 640, height: 360, frameRate: 30, name: "", beatOrigin: null };
let canvas = null;
let context = null;
let writer = null;
let frame = 0;
let begin = 0;
let isRunning = false;

const absoluteNow = () => performance.timeOrigin + performance.now();

onmessage = ({ data }) => {
    if (data.stop) {
        isRunning = false;
        writer?.close().catch(() => {});
        close();
        return;
    }
    settings = { ...settings, ...data.settings };
    if (data.writable) writer = data.writable.getWriter();
    if (isRunning) return;
    isRunning = true;
    begin = absoluteNow();
    tick();
};

function tick() {
    if (!isRunning) return;
    if (writer) writeFrame();
    else postMessage({ frame });
    frame += 1;
    // The next moment is counted from the beginning, so that a late timer does not slow the picture.
    const interval = 1000 / settings.frameRate;
    const elapsed = absoluteNow() - begin;
    const next = Math.max(frame, Math.ceil(elapsed / interval)) * interval;
    setTimeout(tick, Math.max(0, next - elapsed));
}

function writeFrame() {
    const { width, height, name, beatOrigin } = settings;
    // A consumer that is behind gets the next picture, not a queue of old ones.
    if (writer.desiredSize !== null && writer.desiredSize <= 0) return;
    if (!canvas || canvas.width !== width || canvas.height !== height) {
        canvas = new OffscreenCanvas(width, height);
        context = canvas.getContext("2d", { alpha: false });
    }
    const now = absoluteNow();
    const seconds = (now - begin) / 1000;
    const beat = (((now - (beatOrigin ?? begin)) / 1000) % 1 + 1) % 1;
    drawTestPattern(context, { width, height, seconds, beat, frame, name, clock: clockText(new Date()) });
    const picture = new VideoFrame(canvas, { timestamp: Math.round(seconds * 1e6) });
    writer.write(picture).catch(() => { isRunning = false; });
}
