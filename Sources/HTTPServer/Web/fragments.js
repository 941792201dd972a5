// The little of ISO base media files (ISO/IEC 14496-12) that a player looks at itself: where a fragment begins.

/** Children of a box, or of a whole file: `{ type, start, end }`, `start` behind the header. */
function* boxes(view, start, end) {
    while (start + 8 <= end) {
        let size = view.getUint32(start);
        const type = String.fromCharCode(...new Uint8Array(view.buffer, view.byteOffset + start + 4, 4));
        let head = 8;
        if (size === 1 && start + 16 <= end) {
            size = Number(view.getBigUint64(start + 8));
            head = 16;
        }
        if (size === 0) size = end - start;
        if (size < head || start + size > end) return;
        yield { type, start: start + head, end: start + size };
        start += size;
    }
}

function find(view, range, ...path) {
    for (const box of boxes(view, range.start, range.end)) {
        if (box.type !== path[0]) continue;
        return path.length === 1 ? box : find(view, box, ...path.slice(1));
    }
    return null;
}

const whole = view => ({ start: 0, end: view.byteLength });

/** Ticks per second by track, of an initialisation section. */
export function timescales(buffer) {
    const view = new DataView(buffer);
    const found = new Map();
    const moov = find(view, whole(view), "moov");
    if (!moov) return found;
    for (const box of boxes(view, moov.start, moov.end)) {
        if (box.type !== "trak") continue;
        const [tkhd, mdhd] = [find(view, box, "tkhd"), find(view, box, "mdia", "mdhd")];
        if (!tkhd || !mdhd) continue;
        const id = view.getUint32(tkhd.start + (view.getUint8(tkhd.start) === 1 ? 20 : 12));
        found.set(id, view.getUint32(mdhd.start + (view.getUint8(mdhd.start) === 1 ? 20 : 12)));
    }
    return found;
}

/** Seconds at which the earliest track of the first fragment begins to be decoded; NaN if there is none. */
export function decodeTime(buffer, scales) {
    const view = new DataView(buffer);
    const moof = find(view, whole(view), "moof");
    let earliest = NaN;
    if (!moof) return earliest;
    for (const box of boxes(view, moof.start, moof.end)) {
        if (box.type !== "traf") continue;
        const [tfhd, tfdt] = [find(view, box, "tfhd"), find(view, box, "tfdt")];
        const scale = tfhd ? scales.get(view.getUint32(tfhd.start + 4)) : null;
        if (!tfdt || !scale) continue;
        const isLong = view.getUint8(tfdt.start) === 1;
        const ticks = isLong ? Number(view.getBigUint64(tfdt.start + 4)) : view.getUint32(tfdt.start + 4);
        if (!(earliest <= ticks / scale)) earliest = ticks / scale;
    }
    return earliest;
}

/** Four-letter codes of the sample entries of an initialisation section, such as avc1 and Opus. */
export function sampleEntries(buffer) {
    const view = new DataView(buffer);
    const found = [];
    const moov = find(view, whole(view), "moov");
    if (!moov) return found;
    for (const box of boxes(view, moov.start, moov.end)) {
        const stsd = box.type === "trak" ? find(view, box, "mdia", "minf", "stbl", "stsd") : null;
        if (!stsd) continue;
        for (const entry of boxes(view, stsd.start + 8, stsd.end)) found.push(entry.type);
    }
    return found;
}
