import Benchmark

let benchmarks: @Sendable () -> Void = {
    registerParsing()
    registerAnswers()
    registerSRTP()
    registerFeedback()
    registerEngine()
}
