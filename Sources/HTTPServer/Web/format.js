// Numbers as people read them. A dash stands for what is not known.

export const UNKNOWN = "–";

export function bitrate(bitsPerSecond) {
    if (!Number.isFinite(bitsPerSecond) || bitsPerSecond < 0) return UNKNOWN;
    if (bitsPerSecond >= 1e6) return `${(bitsPerSecond / 1e6).toFixed(bitsPerSecond < 1e7 ? 2 : 1)} Mbit/s`;
    return `${Math.round(bitsPerSecond / 1e3)} kbit/s`;
}

/** "812 KB", "1.4 GB". */
export function bytes(number) {
    if (!Number.isFinite(number) || number < 0) return UNKNOWN;
    const units = ["B", "KB", "MB", "GB", "TB"];
    const power = number < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(number) / 3));
    const value = number / 1000 ** power;
    return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[power]}`;
}

export function resolution(width, height) {
    return width > 0 && height > 0 ? `${width} × ${height}` : UNKNOWN;
}

export function milliseconds(seconds) {
    if (!Number.isFinite(seconds)) return UNKNOWN;
    const ms = seconds * 1000;
    return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

export function percent(fraction) {
    if (!Number.isFinite(fraction)) return UNKNOWN;
    const value = Math.max(0, fraction) * 100;
    return `${value === 0 || value >= 10 ? Math.round(value) : value.toFixed(1)} %`;
}

/** "0:42", "12:05", "3:10:09", "2 d 4 h". */
export function duration(seconds) {
    if (!Number.isFinite(seconds) || seconds < 0) return UNKNOWN;
    const total = Math.floor(seconds);
    const days = Math.floor(total / 86400);
    const hours = Math.floor(total / 3600) % 24;
    if (days > 0) return `${days} d ${hours} h`;
    const minutes = Math.floor(total / 60) % 60;
    const two = value => String(value).padStart(2, "0");
    return hours > 0 ? `${hours}:${two(minutes)}:${two(total % 60)}` : `${minutes}:${two(total % 60)}`;
}

/** "video/H264" or "h264" as its usual spelling. */
export function codec(name) {
    if (!name) return UNKNOWN;
    const bare = name.replace(/^(audio|video)\//i, "");
    const usual = { opus: "Opus", h264: "H.264", h265: "H.265", pcmu: "G.711 µ", pcma: "G.711 A", g722: "G.722" };
    return usual[bare.toLowerCase()] ?? bare.toUpperCase();
}

export function count(number, one, many) {
    return `${number} ${number === 1 ? one : many}`;
}
