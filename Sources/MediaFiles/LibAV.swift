import CLibAV

/// What FFmpeg's libraries are told once per process, before their first use.
enum LibAV {
    /// Of one allocation, bytes. A picture of 8K in 4:2:0 has 50 MB, the index of a day of pictures 60 MB; a few hostile
    /// bytes of a file make libavformat ask for 2 GB.
    private static let mostBytesAtOnce = 256 << 20

    private static let once: Void = {
        // They write to standard error what hostile or lossy streams do to them; the errors that matter come back as
        // results.
        av_log_set_level(AV_LOG_FATAL)
        av_max_alloc(mostBytesAtOnce)
    }()

    static func prepare() { _ = once }
}
