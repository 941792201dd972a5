// A time stamp drawn into a picture as 8 x 5 black and white blocks, so large that no video codec blurs them, and its
// reading. 32 bits are the time in quarters of a millisecond, 8 are a checksum over them.

export const WIDTH = 320;
export const HEIGHT = 240;
const COLUMNS = 8;
const ROWS = 5;
const BLOCK_WIDTH = WIDTH / COLUMNS;
const BLOCK_HEIGHT = HEIGHT / ROWS;
const UNITS_PER_MS = 4;
const RANGE = 2 ** 32;
const MIDDLE_LUMA = 128;
const CALIBRATION_TICKS = 41;

let clockOffset = null;

/**
 * Ties performance.now() of this page to Date.now(), which is one clock for all pages: notes the moments at which
 * Date.now() steps to its next millisecond. `timeOrigin` would do the same but for what the two clocks have drifted
 * since the page was opened.
 */
export function calibrateClock() {
    const offsets = [];
    let before = Date.now();
    while (offsets.length < CALIBRATION_TICKS) {
        const date = Date.now();
        if (date === before) continue;
        if (date === before + 1) offsets.push(date - performance.now());
        before = date;
    }
    clockOffset = offsets.sort((a, b) => a - b)[CALIBRATION_TICKS >> 1];
    return clockOffset;
}

/** Milliseconds on the clock of all pages. `at` is a time of performance.now(). */
export function clock(at = performance.now()) {
    return at + clockOffset;
}

/** Sum of the four bytes with an offset, so that an all-black and an all-white picture are both wrong. */
function checksum(units) {
    return ((units & 255) + (units >>> 8 & 255) * 3 + (units >>> 16 & 255) * 5 + (units >>> 24) * 7 + 91) & 255;
}

export function drawTime(context, time) {
    const units = Math.floor(time * UNITS_PER_MS) % RANGE;
    const check = checksum(units);
    for (let block = 0; block < COLUMNS * ROWS; block += 1) {
        const bit = block < 32 ? units >>> block & 1 : check >>> (block - 32) & 1;
        context.fillStyle = bit ? "#ffffff" : "#000000";
        context.fillRect(block % COLUMNS * BLOCK_WIDTH, Math.floor(block / COLUMNS) * BLOCK_HEIGHT,
            BLOCK_WIDTH, BLOCK_HEIGHT);
    }
}

/** The drawn time as it was near `now`, or null when the checksum does not fit the picture. */
export function readTime(context, now) {
    const { data } = context.getImageData(0, 0, WIDTH, HEIGHT);
    let units = 0;
    let check = 0;
    for (let block = 0; block < COLUMNS * ROWS; block += 1) {
        const x = block % COLUMNS * BLOCK_WIDTH + BLOCK_WIDTH / 2;
        const y = Math.floor(block / COLUMNS) * BLOCK_HEIGHT + BLOCK_HEIGHT / 2;
        const bit = data[(y * WIDTH + x) * 4 + 1] > MIDDLE_LUMA ? 1 : 0;
        if (block < 32) units |= bit << block;
        else check |= bit << (block - 32);
    }
    units >>>= 0;
    if (check !== checksum(units)) return null;
    const age = (Math.floor(now * UNITS_PER_MS) % RANGE - units + RANGE) % RANGE;
    return now - age / UNITS_PER_MS;
}
