import CLibAV
import MediaFormats

/// Why a frame could not be decoded, encoded or drawn. The texts are for people who run the server.
package enum CodecError: Error, Equatable, CustomStringConvertible {
    /// The libavcodec of this machine was built without the codec.
    case decoderMissing(Codec)
    case encoderMissing(Codec)
    /// The library refused; its words are inside.
    case library(LibAVError)
    /// A picture larger than `PictureLimits.maxPixels`.
    case pictureTooLarge(VideoSize)
    /// The frames given were not enough for a picture.
    case noPicture
    /// The codec has no place here: sound for a picture, say.
    case unsupported(Codec)
    case outOfMemory

    /// Of a decoder: the bytes were at fault, and it can go on with others. Decoders call damage by many names; what they
    /// cannot help is want of memory.
    package var isDamagedData: Bool {
        if case .library(let error) = self { error.code != weir_averror(ENOMEM) } else { false }
    }

    package var description: String {
        switch self {
        case .decoderMissing(let codec):
            "libavcodec has no decoder for \(codec.name): install Debian's libavcodec59, which has all that Weir forwards"
        case .encoderMissing(let codec):
            "libavcodec has no encoder for \(codec.name): install Debian's libavcodec59 (with libx264, libopus and libvpx)"
        case .library(let error): "\(error)"
        case .pictureTooLarge(let size):
            "a picture of \(size.width)×\(size.height) is larger than the \(PictureLimits.maxPixels) pixels allowed"
        case .noPicture: "no picture could be decoded: the stream has sent no key frame yet, or only damaged ones"
        case .unsupported(let codec): "\(codec.name) cannot be used for this"
        case .outOfMemory: "out of memory"
        }
    }
}

/// Bounds on what a hostile bitstream can make a decoder allocate.
package enum PictureLimits {
    /// 8K.
    package static let maxPixels = 7_680 * 4_320
}

/// As `check`, for codecs.
@discardableResult
func checked(_ operation: @autoclosure () -> String, _ result: Int32) throws(CodecError) -> Int32 {
    guard result >= 0 else { throw .library(LibAVError(operation: operation(), code: result)) }
    return result
}
