// What the test picture shows. Pure drawing on a 2D context, so that it runs in a worker and in a page alike.

const BARS = ["#c8ccd0", "#c9b458", "#4fb3bf", "#5aa469", "#a46aa8", "#c0605a", "#4b6cb7"];
const FLASH_SECONDS = 0.12;

/** `beat`: seconds since the last tone began, 0 to 1. `seconds`: since the start. */
export function drawTestPattern(context, { width, height, seconds, beat, frame, name, clock }) {
    const unit = height / 100;
    const background = context.createLinearGradient(0, 0, width, height);
    background.addColorStop(0, "#12303a");
    background.addColorStop(1, "#1b4a57");
    context.fillStyle = background;
    context.fillRect(0, 0, width, height);

    drawGrid(context, width, height, unit);
    drawBars(context, width, height, unit);
    drawWave(context, width, height, unit, seconds);
    drawDial(context, width * 0.76, height * 0.4, unit * 25, unit, seconds, beat);
    drawBall(context, width, height, unit, seconds);
    drawText(context, width, unit, { name, clock, frame, size: `${width} × ${height}` });
}

function drawGrid(context, width, height, unit) {
    context.strokeStyle = "rgba(255, 255, 255, 0.07)";
    context.lineWidth = Math.max(1, unit * 0.2);
    context.beginPath();
    for (let x = unit * 10; x < width; x += unit * 10) {
        context.moveTo(x, 0);
        context.lineTo(x, height);
    }
    for (let y = unit * 10; y < height; y += unit * 10) {
        context.moveTo(0, y);
        context.lineTo(width, y);
    }
    context.stroke();
}

function drawBars(context, width, height, unit) {
    const wide = width / BARS.length;
    BARS.forEach((colour, index) => {
        context.fillStyle = colour;
        context.fillRect(Math.floor(index * wide), height - unit * 12, Math.ceil(wide), unit * 12);
    });
}

function drawWave(context, width, height, unit, seconds) {
    context.fillStyle = "rgba(120, 215, 230, 0.28)";
    context.beginPath();
    context.moveTo(0, height - unit * 12);
    for (let x = 0; x < width + unit * 2; x += unit * 2) {
        const y = Math.sin(x / (unit * 14) + seconds * 1.6) * unit * 3 + Math.sin(x / (unit * 6) - seconds) * unit;
        context.lineTo(x, height - unit * 20 + y);
    }
    context.lineTo(width + unit * 2, height - unit * 12);
    context.fill();
}

/** One turn of the hand takes four seconds; the rim lights up with each tone, which shows lip-sync. */
function drawDial(context, x, y, radius, unit, seconds, beat) {
    const isLit = beat < FLASH_SECONDS;
    context.lineWidth = unit * 1.4;
    context.strokeStyle = isLit ? "#ffe08a" : "rgba(255, 255, 255, 0.55)";
    context.fillStyle = isLit ? "rgba(255, 224, 138, 0.25)" : "rgba(6, 20, 26, 0.35)";
    context.beginPath();
    context.arc(x, y, radius, 0, Math.PI * 2);
    context.fill();
    context.stroke();
    const angle = (seconds / 4) * Math.PI * 2 - Math.PI / 2;
    context.fillStyle = "rgba(120, 215, 230, 0.35)";
    context.beginPath();
    context.moveTo(x, y);
    context.arc(x, y, radius * 0.9, angle - Math.PI / 3, angle);
    context.fill();
    context.strokeStyle = "#f1fbfd";
    context.lineWidth = unit * 1.2;
    context.lineCap = "round";
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x + Math.cos(angle) * radius * 0.9, y + Math.sin(angle) * radius * 0.9);
    context.stroke();
}

function drawBall(context, width, height, unit, seconds) {
    const radius = unit * 5;
    const bounce = (value, most) => Math.abs(((value % (2 * most)) + 2 * most) % (2 * most) - most);
    const x = radius + bounce(seconds * unit * 42, width - 2 * radius);
    const y = radius + bounce(seconds * unit * 27, height - unit * 24 - 2 * radius);
    context.fillStyle = "#ff9e64";
    context.beginPath();
    context.arc(x, y, radius, 0, Math.PI * 2);
    context.fill();
}

function drawText(context, width, unit, { name, clock, frame, size }) {
    const face = "ui-monospace, SFMono-Regular, Menlo, 'DejaVu Sans Mono', monospace";
    context.textBaseline = "alphabetic";
    context.fillStyle = "#f1fbfd";
    context.font = `600 ${unit * 13}px ${face}`;
    context.fillText(clock, unit * 6, unit * 38, width * 0.5);
    context.font = `500 ${unit * 5.5}px ${face}`;
    context.fillStyle = "rgba(241, 251, 253, 0.85)";
    context.fillText(name, unit * 6, unit * 17, width * 0.48);
    context.fillText(`${size}   frame ${frame}`, unit * 6, unit * 52, width * 0.5);
}

/** Wall clock to the millisecond, as the picture shows it. */
export function clockText(date) {
    const two = value => String(value).padStart(2, "0");
    return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
        + `.${String(date.getMilliseconds()).padStart(3, "0")}`;
}
