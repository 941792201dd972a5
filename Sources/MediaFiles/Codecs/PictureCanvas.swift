import CLibAV
import MediaFormats

/// A picture ready to be put somewhere: upright, of the size of its place or smaller, its shape kept.
package final class FittedPicture {
    let frame: FrameBuffer

    fileprivate init(_ frame: FrameBuffer) { self.frame = frame }

    package var size: VideoSize { frame.size }
}

/// Makes pictures of one source ready for their places. Keeps what it has set up while they stay alike. One thread.
package final class PictureFitter {
    private let scaler = Scaler(to: AV_PIX_FMT_YUV420P)

    package init() {}

    /// - Parameter box: at least 2×2.
    package func fit(_ picture: VideoPicture, into box: VideoSize) throws(CodecError) -> FittedPicture {
        let size = Self.fitted(picture.size, picture.rotation, box)
        let scaled = try scaler.scale(picture.frame, to: size)
        guard picture.rotation != .none else { return FittedPicture(scaled) }
        return FittedPicture(try Self.turned(scaled, picture.rotation))
    }

    /// Even size before rotation, at which the picture after rotation fills the box in one direction.
    static func fitted(_ size: VideoSize, _ rotation: VideoRotation, _ box: VideoSize) -> VideoSize {
        let room = rotation.isSideways ? VideoSize(width: box.height, height: box.width) : box
        guard size.width > 0, size.height > 0 else { return room }
        let isWide = size.width * room.height >= size.height * room.width
        let width = isWide ? room.width : size.width * room.height / size.height
        let height = isWide ? size.height * room.width / size.width : room.height
        return VideoSize(width: max(2, width & ~1), height: max(2, height & ~1))
    }

    private static func turned(_ source: FrameBuffer, _ rotation: VideoRotation) throws(CodecError) -> FrameBuffer {
        let size = source.size
        let turned = rotation.isSideways ? VideoSize(width: size.height, height: size.width) : size
        let result = try FrameBuffer(size: turned, format: AV_PIX_FMT_YUV420P)
        for plane in 0..<PictureCanvas.planes {
            guard let from = source.plane(plane), let to = result.plane(plane) else { throw .outOfMemory }
            let half = plane == 0 ? 1 : 2
            let (width, height) = (turned.width / half, turned.height / half)
            for y in 0..<height {
                for x in 0..<width {
                    let (column, row) =
                        switch rotation {
                        case .none: (x, y)
                        case .clockwise90: (y, width - 1 - x)
                        case .clockwise180: (width - 1 - x, height - 1 - y)
                        case .clockwise270: (height - 1 - y, x)
                        }
                    to.bytes[y * to.line + x] = from.bytes[row * from.line + column]
                }
            }
        }
        return result
    }
}

/// A picture in 4:2:0 on which others are put. Positions and sizes are even; what does not fit is cut. One thread.
package final class PictureCanvas {
    static let planes = 3
    private static let black: [UInt8] = [16, 128, 128]
    private static let white: UInt8 = 235

    let frame: FrameBuffer

    /// A black one.
    package init(size: VideoSize) throws(CodecError) {
        frame = try FrameBuffer(size: size, format: AV_PIX_FMT_YUV420P)
        frame.pointer.pointee.colorspace = AVCOL_SPC_SMPTE170M
        frame.pointer.pointee.color_range = AVCOL_RANGE_MPEG
        for plane in 0..<Self.planes {
            guard let target = frame.plane(plane) else { throw .outOfMemory }
            let rows = plane == 0 ? size.height : size.height / 2
            target.bytes.update(repeating: Self.black[plane], count: target.line * rows)
        }
    }

    package var size: VideoSize { frame.size }

    package func draw(_ picture: FittedPicture, x: Int, y: Int) {
        let width = min(picture.size.width, size.width - x)
        let height = min(picture.size.height, size.height - y)
        guard x >= 0, y >= 0, width > 0, height > 0 else { return }
        for plane in 0..<Self.planes {
            guard let from = picture.frame.plane(plane), let to = frame.plane(plane) else { continue }
            let half = plane == 0 ? 1 : 2
            for row in 0..<(height / half) {
                (to.bytes + (y / half + row) * to.line + x / half)
                    .update(from: from.bytes + row * from.line, count: width / half)
            }
        }
    }

    /// Writes one line of text, white on black.
    ///
    /// - Parameters:
    ///   - scale: pixels of the canvas per pixel of the font.
    ///   - width: pixels that there are; the rest is cut.
    package func write(_ text: String, x: Int, y: Int, scale: Int, width: Int) {
        guard let luma = frame.plane(0), x >= 0, y >= 0, scale > 0 else { return }
        let cell = LabelFont.width + 1
        let room = min(width, size.width - x)
        let glyphs = LabelFont.glyphs(text).prefix(max(0, room / (cell * scale)))
        let height = min((LabelFont.height + 2) * scale, size.height - y)
        guard !glyphs.isEmpty, height > 0 else { return }
        darken(x: x, y: y, width: min(room, glyphs.count * cell * scale + scale), height: height)
        for (index, glyph) in glyphs.enumerated() {
            for column in 0..<LabelFont.width {
                for row in 0..<LabelFont.height where glyph[column] >> UInt8(row) & 1 == 1 {
                    let left = x + (index * cell + column + 1) * scale
                    let top = y + (row + 1) * scale
                    for line in top..<min(top + scale, size.height) {
                        let end = min(left + scale, size.width)
                        guard left < end else { continue }
                        (luma.bytes + line * luma.line + left).update(repeating: Self.white, count: end - left)
                    }
                }
            }
        }
    }

    private func darken(x: Int, y: Int, width: Int, height: Int) {
        for plane in 0..<Self.planes {
            guard let target = frame.plane(plane) else { continue }
            let half = plane == 0 ? 1 : 2
            for row in 0..<(height / half) {
                (target.bytes + (y / half + row) * target.line + x / half)
                    .update(repeating: Self.black[plane], count: width / half)
            }
        }
    }
}

extension FrameBuffer {
    /// Bytes of a plane and the distance from line to line.
    func plane(_ index: Int) -> (bytes: UnsafeMutablePointer<UInt8>, line: Int)? {
        let (data, lines) = (pointer.pointee.data, pointer.pointee.linesize)
        let (bytes, line) =
            switch index {
            case 0: (data.0, lines.0)
            case 1: (data.1, lines.1)
            default: (data.2, lines.2)
            }
        guard let bytes, line > 0 else { return nil }
        return (bytes, Int(line))
    }
}
