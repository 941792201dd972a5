import CLibAV
import MediaFormats

/// Pictures to PNG files in memory (libavcodec, libswscale): turned upright, made smaller if asked to.
package enum PNGEncoder {
    private static let bytesPerPixel = 3

    /// - Parameter maxWidth: wider pictures (after rotation) are scaled down, their shape kept; `nil`: never.
    package static func encode(_ picture: VideoPicture, maxWidth: Int? = nil) throws(CodecError) -> [UInt8] {
        let scaled = try Scaler(to: AV_PIX_FMT_RGB24).scale(
            picture.frame, to: fitted(picture.size, picture.rotation, maxWidth))
        let upright = try rotate(scaled, picture.rotation)
        guard let implementation = avcodec_find_encoder(AV_CODEC_ID_PNG) else {
            throw .library(LibAVError(operation: "find libavcodec's PNG encoder", code: weir_averror(ENOSYS)))
        }
        guard let context = avcodec_alloc_context3(implementation), let packet = av_packet_alloc() else {
            throw .outOfMemory
        }
        defer {
            var owned: UnsafeMutablePointer<AVCodecContext>? = context
            avcodec_free_context(&owned)
            var ownedPacket: UnsafeMutablePointer<AVPacket>? = packet
            av_packet_free(&ownedPacket)
        }
        context.pointee.width = upright.pointer.pointee.width
        context.pointee.height = upright.pointer.pointee.height
        context.pointee.pix_fmt = AV_PIX_FMT_RGB24
        context.pointee.time_base = weir_rational(1, 25)
        context.pointee.thread_count = 1
        try checked("open the PNG encoder", avcodec_open2(context, nil, nil))
        try checked("encode a PNG", avcodec_send_frame(context, upright.pointer))
        try checked("encode a PNG", avcodec_receive_packet(context, packet))
        return Array(UnsafeBufferPointer(start: packet.pointee.data, count: Int(packet.pointee.size)))
    }

    /// Size before rotation at which the picture after rotation is no wider than `maxWidth`.
    private static func fitted(_ size: VideoSize, _ rotation: VideoRotation, _ maxWidth: Int?) -> VideoSize {
        let width = rotation.isSideways ? size.height : size.width
        guard let maxWidth, maxWidth > 0, width > maxWidth else { return size }
        return VideoSize(
            width: max(1, size.width * maxWidth / width), height: max(1, size.height * maxWidth / width))
    }

    private static func rotate(_ source: FrameBuffer, _ rotation: VideoRotation) throws(CodecError) -> FrameBuffer {
        guard rotation != .none else { return source }
        let size = source.size
        let turned = rotation.isSideways ? VideoSize(width: size.height, height: size.width) : size
        let result = try FrameBuffer(size: turned, format: AV_PIX_FMT_RGB24)
        guard let from = source.pointer.pointee.data.0, let to = result.pointer.pointee.data.0 else {
            throw .outOfMemory
        }
        let fromLine = Int(source.pointer.pointee.linesize.0)
        let toLine = Int(result.pointer.pointee.linesize.0)
        for y in 0..<turned.height {
            for x in 0..<turned.width {
                // Where the pixel comes from.
                let (column, row) =
                    switch rotation {
                    case .none: (x, y)
                    case .clockwise90: (y, size.height - 1 - x)
                    case .clockwise180: (size.width - 1 - x, size.height - 1 - y)
                    case .clockwise270: (size.width - 1 - y, x)
                    }
                let source = from + row * fromLine + column * bytesPerPixel
                let target = to + y * toLine + x * bytesPerPixel
                target[0] = source[0]
                target[1] = source[1]
                target[2] = source[2]
            }
        }
        return result
    }
}
