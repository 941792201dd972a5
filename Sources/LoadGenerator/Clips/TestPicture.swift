import CVPX
import Wire

/// Pictures that give an encoder something to do: a gradient that moves, a square that crosses it, and noise.
///
/// The noise is weak in some places and strong in others, so that a coarser quantiser drops some of it and not all at
/// once: otherwise rate control would swing from far too much to nearly nothing.
struct TestPicture {
    private static let seed: UInt64 = 0x7669_6577
    /// Luma that noise adds at most, by place. Some tiles have none: coding noise takes time.
    private static let noise: [UInt8] = [1, 1, 1, 8, 16, 32, 64, 96]
    /// Size of the places, samples.
    private static let tile = 32
    /// Noise is drawn once, for so many samples more than a row or column has; each picture takes it from elsewhere.
    private static let spare = 64
    private static let squareSize = 48

    private let width: Int
    private let height: Int
    private let texture: [UInt8]
    private var random = SeededRandom(seed: seed)

    init(width: Int, height: Int) {
        self.width = width
        self.height = height
        let (columns, rows) = (width + Self.spare, height + Self.spare)
        var texture: [UInt8] = []
        texture.reserveCapacity(columns * rows)
        var random = random
        for y in 0..<rows {
            for x in 0..<columns {
                let place = (x / Self.tile &* 5 &+ y / Self.tile &* 3) % Self.noise.count
                texture.append(UInt8(truncatingIfNeeded: random.next() >> 32) % Self.noise[place])
            }
        }
        self.texture = texture
    }

    /// - Parameter image: I420 of the size given to `init`.
    mutating func draw(_ index: Int, on image: vpx_image_t) {
        guard let luma = image.planes.0, let blue = image.planes.1, let red = image.planes.2 else { return }
        let left = Int.random(in: 0..<Self.spare, using: &random)
        let top = Int.random(in: 0..<Self.spare, using: &random)
        let side = min(Self.squareSize, width, height)
        let square = (x: 5 * index % (width - side + 1), y: 3 * index % (height - side + 1))
        texture.withUnsafeBufferPointer { noise in
            for y in 0..<height {
                let row = luma + y * Int(image.stride.0)
                let source = noise.baseAddress! + (y + top) * (width + Self.spare) + left
                // A slope that turns around at its ends, so that no sample is above 16 + 127 + 95.
                for x in 0..<width {
                    let phase = UInt8(truncatingIfNeeded: (x + y + 2 * index) >> 1)
                    row[x] = 16 &+ (phase < 128 ? phase : 255 &- phase) &+ source[x]
                }
                if (square.y..<(square.y + side)).contains(y) {
                    (row + square.x).update(repeating: 220, count: side)
                }
            }
        }
        for y in 0..<((height + 1) / 2) {
            let shade = UInt8(64 + (y + index) % 128)
            (blue + y * Int(image.stride.1)).update(repeating: shade, count: (width + 1) / 2)
            (red + y * Int(image.stride.2)).update(repeating: 255 - shade, count: (width + 1) / 2)
        }
    }
}
