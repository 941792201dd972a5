// A publisher of numbered pictures (the geometry of numbered_clip.py) with a beep and a flash once a second.

import { readStats } from "./media.js";
import { whipPublish } from "./whip.js";

const COLUMNS = 8;
const ROWS = 3;
const NUMBER_BITS = 16;
const BLOCKS_END = 0.6;
const BAR_END = 0.8;
const SHADES = 7;
const SHADE_STEP = 8;
const BEEP_SECONDS = 0.1;
const TONE_HZ = 1000;
const TONE_LEVEL = 0.5;
// Longest time until the browser has encoded what it had taken before its tracks were taken away.
const QUIET_MS = 300;

let source = null;
const peers = new Map();

function checksum(number) {
    return ((number & 255) * 3 + (number >> 8) * 5 + 91) & 255;
}

function bounds(block, width, height) {
    const column = block % COLUMNS;
    const row = Math.floor(block / COLUMNS);
    return [width * column / COLUMNS, height * BLOCKS_END * row / ROWS, width / COLUMNS, height * BLOCKS_END / ROWS];
}

function drawPicture(context, number, flash) {
    const { width, height } = context.canvas;
    const word = number | checksum(number) << NUMBER_BITS;
    // No part of pictures near each other is the same: Chromium's AV1 encoder at times takes a block of an earlier picture
    // for one that has changed.
    const shade = number % SHADES * SHADE_STEP;
    const [white, black] = [`rgb(${255 - shade} ${255 - shade} ${255 - shade})`, `rgb(${shade} ${shade} ${shade})`];
    for (let block = 0; block < COLUMNS * ROWS; block += 1) {
        context.fillStyle = word >>> block & 1 ? white : black;
        const [x, y, w, h] = bounds(block, width, height).map(Math.round);
        context.fillRect(x, y, w + 1, h + 1);
    }
    context.fillStyle = flash ? white : black;
    context.fillRect(0, height * BLOCKS_END, width, height * (BAR_END - BLOCKS_END));
    context.fillStyle = `hsl(${number * 7 % 360} 60% 40%)`;
    context.fillRect(0, height * BAR_END, width, height * (1 - BAR_END));
    context.fillStyle = "#888";
    context.fillRect(number * 5 % width, height * BAR_END, 20, height * (1 - BAR_END));
}

window.app = {
    /** Begins to draw and to beep, for so many seconds. */
    async begin({ width, height, frameRate, seconds }) {
        const canvas = document.createElement("canvas");
        Object.assign(canvas, { width, height });
        document.body.append(canvas);
        const context = canvas.getContext("2d");
        const audio = new AudioContext({ sampleRate: 48000 });
        await audio.resume();
        const gain = audio.createGain();
        gain.gain.value = 0;
        const oscillator = audio.createOscillator();
        oscillator.frequency.value = TONE_HZ;
        const destination = audio.createMediaStreamDestination();
        destination.channelCount = 1;
        oscillator.connect(gain).connect(destination);
        oscillator.start();
        const zero = Math.ceil(audio.currentTime) + 1;
        for (let second = 0; second < seconds; second += 1) {
            gain.gain.setValueAtTime(TONE_LEVEL, zero + second);
            gain.gain.setValueAtTime(0, zero + second + BEEP_SECONDS);
        }
        const drawn = [];
        const draw = () => {
            const [now, rendered] = [performance.now(), audio.currentTime];
            const phase = (rendered - zero) % 1;
            drawPicture(context, drawn.length, phase >= 0 && phase < BEEP_SECONDS);
            drawn.push([now, rendered]);
        };
        draw();
        setInterval(draw, 1000 / frameRate);
        const stream = canvas.captureStream(frameRate);
        stream.addTrack(destination.stream.getAudioTracks()[0]);
        source = { canvas, drawn, stream, zero };
    },
    async publish(key, url, options) {
        const peer = await whipPublish(url, source.stream, options);
        peers.set(key, peer);
        await peer.connected();
    },
    stats: key => readStats(peers.get(key).pc),
    /** When each picture was drawn: performance.now() in ms, and how far the sound was made then, in seconds; and when
        the first beep is due on the latter clock. */
    drawn: () => ({ pictures: source.drawn, zero: source.zero }),
    resize(width, height) {
        Object.assign(source.canvas, { width, height });
    },
    /** Takes the tracks away and waits until nothing more is encoded; the number of frames that were. */
    async silence(key) {
        const peer = peers.get(key);
        await Promise.all(peer.pc.getSenders().map(sender => sender.replaceTrack(null)));
        let encoded = -1;
        for (;;) {
            const { video } = await readStats(peer.pc);
            if (video.frames === encoded) return encoded;
            encoded = video.frames;
            await new Promise(resolve => setTimeout(resolve, QUIET_MS));
        }
    },
    stop: key => peers.get(key).stop(),
    wcsViolations: () => [],
};
window.app.ready = true;
