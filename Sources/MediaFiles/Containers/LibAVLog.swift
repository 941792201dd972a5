import CLibAV

/// libav writes to the standard error what it thinks of files and streams. They are others' files and streams, and what we
/// think of them comes as errors; so it is silent.
enum LibAVLog {
    /// Once per process; read it before the first call of libavformat.
    static let silence: Void = av_log_set_level(AV_LOG_FATAL)
}
