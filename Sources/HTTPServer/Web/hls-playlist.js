// Playlists of HLS (draft-pantos-hls-rfc8216bis), as far as this page's player needs them.

/** `{ uri, codecs, bandwidth, audio }` of each variant, and the sound renditions by group: `{ uri, isDefault }`. */
export function parseMultivariant(text) {
    const variants = [];
    const groups = new Map();
    let pending = null;
    for (const line of text.split(/\r?\n/)) {
        if (line.startsWith("#EXT-X-STREAM-INF:")) pending = attributes(line);
        else if (line.startsWith("#EXT-X-MEDIA:")) {
            const media = attributes(line);
            if (media.TYPE !== "AUDIO" || !media.URI) continue;
            const group = groups.get(media["GROUP-ID"]) ?? [];
            group.push({ uri: media.URI, name: media.NAME, isDefault: media.DEFAULT === "YES" });
            groups.set(media["GROUP-ID"], group);
        } else if (line !== "" && !line.startsWith("#") && pending) {
            variants.push({
                uri: line, codecs: (pending.CODECS ?? "").split(",").filter(Boolean),
                bandwidth: Number(pending.BANDWIDTH), audio: pending.AUDIO ?? null,
            });
            pending = null;
        }
    }
    return { variants, groups };
}

/**
 * A media playlist as the list of what can be loaded, in order: parts where they are listed, else whole segments.
 * Each item: `{ number, part, uri, duration, date, map, isIndependent, isGap, isDiscontinuity }`; `date` in ms since 1970.
 * `next`: what comes after the last item, for a blocking request.
 */
export function parseMedia(text) {
    const list = {
        items: [], target: 0, partTarget: 0, partHoldBack: 0, holdBack: 0, canBlock: false, canSkip: false, hint: null,
        ended: false, next: { number: 0, part: 0 },
    };
    let [number, map, date, discontinuity, gap, duration] = [0, null, NaN, false, false, 0];
    let parts = [];
    const addParts = () => {
        let at = date;
        parts.forEach((part, index) => {
            list.items.push({ ...part, number, part: index, date: at, map, isDiscontinuity: discontinuity && index === 0 });
            at += part.duration * 1000;
        });
    };
    for (const line of text.split(/\r?\n/)) {
        const value = line.slice(line.indexOf(":") + 1);
        if (line.startsWith("#EXT-X-TARGETDURATION:")) list.target = Number(value);
        else if (line.startsWith("#EXT-X-SERVER-CONTROL:")) {
            const control = attributes(line);
            list.partHoldBack = Number(control["PART-HOLD-BACK"] ?? 0);
            list.holdBack = Number(control["HOLD-BACK"] ?? 0);
            list.canBlock = control["CAN-BLOCK-RELOAD"] === "YES";
            list.canSkip = "CAN-SKIP-UNTIL" in control;
        } else if (line.startsWith("#EXT-X-PART-INF:")) list.partTarget = Number(attributes(line)["PART-TARGET"]);
        else if (line.startsWith("#EXT-X-MEDIA-SEQUENCE:")) number = Number(value);
        else if (line.startsWith("#EXT-X-SKIP:")) number += Number(attributes(line)["SKIPPED-SEGMENTS"]);
        else if (line.startsWith("#EXT-X-MAP:")) map = attributes(line).URI;
        else if (line.startsWith("#EXT-X-PROGRAM-DATE-TIME:")) date = Date.parse(value);
        else if (line === "#EXT-X-DISCONTINUITY") discontinuity = true;
        else if (line === "#EXT-X-GAP") gap = true;
        else if (line.startsWith("#EXTINF:")) duration = Number.parseFloat(value);
        else if (line.startsWith("#EXT-X-PART:")) {
            const part = attributes(line);
            parts.push({
                uri: part.URI, duration: Number(part.DURATION), isIndependent: part.INDEPENDENT === "YES",
                isGap: part.GAP === "YES",
            });
        } else if (line.startsWith("#EXT-X-PRELOAD-HINT:")) {
            const hint = attributes(line);
            if (hint.TYPE === "PART") list.hint = hint.URI;
        } else if (line === "#EXT-X-ENDLIST") list.ended = true;
        else if (line !== "" && !line.startsWith("#")) {
            if (parts.length > 0) addParts();
            else {
                list.items.push({
                    uri: line, duration, isIndependent: true, isGap: gap, number, part: null, date, map,
                    isDiscontinuity: discontinuity,
                });
            }
            date += duration * 1000;
            number += 1;
            [parts, discontinuity, gap] = [[], false, false];
        }
    }
    addParts();
    list.next = { number, part: parts.length };
    return list;
}

/** An attribute list (§4.2), without the quotes of its values. */
function attributes(line) {
    const found = {};
    for (const [, name, value] of line.matchAll(/([A-Z0-9-]+)=("[^"]*"|[^",]*)/g)) {
        found[name] = value.startsWith("\"") ? value.slice(1, -1) : value;
    }
    return found;
}
