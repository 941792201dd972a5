import CLibAV
import MediaFormats

/// Pictures to another size or pixel format (libswscale). Keeps what it has set up for as long as pictures stay alike.
final class Scaler {
    private var context: OpaquePointer?
    let format: AVPixelFormat

    /// - Parameter format: of the pictures that it makes.
    init(to format: AVPixelFormat) { self.format = format }

    deinit { sws_freeContext(context) }

    /// - Parameter size: `nil`: as it is.
    func scale(_ source: FrameBuffer, to size: VideoSize? = nil) throws(CodecError) -> FrameBuffer {
        let size = size ?? source.size
        let from = source.pointer
        let width = from.pointee.width
        let height = from.pointee.height
        guard width > 0, height > 0, size.width > 0, size.height > 0 else { throw .noPicture }
        guard size.width * size.height <= PictureLimits.maxPixels else { throw .pictureTooLarge(size) }
        context = sws_getCachedContext(
            context, width, height, AVPixelFormat(from.pointee.format), Int32(clamping: size.width),
            Int32(clamping: size.height), format, SWS_BILINEAR | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT, nil, nil, nil)
        guard let context else {
            throw .library(LibAVError(operation: "convert a picture of this format", code: weir_averror(EINVAL)))
        }
        setColours(context, from)
        let result = try FrameBuffer(size: size, format: format)
        try checked("convert a picture", sws_scale_frame(context, result.pointer, from))
        result.pointer.pointee.pts = from.pointee.pts
        return result
    }

    /// Which matrix and range the picture's numbers have; what is not told is BT.601 in the narrow range, as in
    /// WebRTC. What comes out is narrow, too; RGB is always full.
    private func setColours(_ context: OpaquePointer, _ frame: UnsafeMutablePointer<AVFrame>) {
        let isUnknown = frame.pointee.colorspace == AVCOL_SPC_UNSPECIFIED || frame.pointee.colorspace == AVCOL_SPC_RGB
        let matrix = isUnknown ? SWS_CS_DEFAULT : Int32(frame.pointee.colorspace.rawValue)
        let isFull = frame.pointee.color_range == AVCOL_RANGE_JPEG
        sws_setColorspaceDetails(
            context, sws_getCoefficients(matrix), isFull ? 1 : 0, sws_getCoefficients(SWS_CS_DEFAULT), 0, 0,
            1 << 16, 1 << 16)
    }
}
