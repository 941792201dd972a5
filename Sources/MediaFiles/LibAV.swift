import CLibAV

/// What FFmpeg's libraries are told once per process, before their first use.
package enum LibAV {
    /// Of one allocation, bytes. A picture of 8K in 4:2:0 has 50 MB, the index of a day of pictures, 60 a second, 125 MB; a
    /// few hostile bytes of a file make libavformat ask for 2 GB, and fill it for minutes.
    private static let mostBytesAtOnce = 128 << 20

    private static let once: Void = {
        // They write to standard error what hostile or lossy streams do to them; the errors that matter come back as
        // results.
        av_log_set_level(AV_LOG_FATAL)
        av_max_alloc(mostBytesAtOnce)
    }()

    static func prepare() { _ = once }

    /// For fuzz targets, whose inputs are small: libavformat fills what it is given at some 50 MB a second.
    package static func bound(allocations bytes: Int) {
        prepare()
        av_max_alloc(bytes)
    }
}
