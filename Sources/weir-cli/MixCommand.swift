import ArgumentParser
import Foundation
import Mixing
import Synchronization

/// `weir mix`: several recordings, or one of several streams, into one file.
struct Mix: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Mix recordings into one file: pictures in a grid, sound added up.",
        discussion: """
            Inputs are one file of several streams (multipleRecorder) or several recordings, which are put beside each \
            other by the wall-clock time that is in them. The output's name says its format: .mp4, .mkv, .webm or .ts. \
            docs/mixing.md says more.

            Ends with status 0, 64 (what was asked for cannot be), 65 (an input is no recording), 66 (an input is not \
            there), 70 (a codec is missing), 73 (the output cannot be created, or is there), 74 (disk) or 130 (stopped).
            """)

    @Argument(help: "Recordings.", completion: .file())
    var inputs: [String]

    @Option(name: .shortAndLong, help: "File to make.", completion: .file())
    var output: String

    @Option(help: "grid (as square as possible), row or column.")
    var layout: MixLayout = .grid

    @Option(help: "Pixels, even.")
    var width = 1_280

    @Option(help: "Pixels, even.")
    var height = 720

    @Option(help: "Pictures per second.")
    var fps = 30

    @Option(
        name: .customLong("offset"),
        help: "FILE=SECONDS: that input begins so long after the first of the others, whatever time is in it.")
    var offsets: [String] = []

    @Flag(help: "Write names on the pictures.")
    var names = false

    @Flag(help: "Replace the output if it is there.")
    var force = false

    func run() throws {
        var settings = MixSettings(inputs: inputs, output: output)
        settings.layout = layout
        settings.width = width
        settings.height = height
        settings.framesPerSecond = fps
        settings.showsNames = names
        settings.replaces = force
        settings.threads = ProcessInfo.processInfo.activeProcessorCount
        do {
            settings.offsets = try offsets.reduce(into: [:]) {
                $0[try Self.offset($1).file] = try Self.offset($1).seconds
            }
            stopOnSignals()
            let bar = MixBar(isTerminal: isatty(STDERR_FILENO) == 1)
            let result = try Mixer(settings) { progress in
                bar.show(progress)
                return !isStopped.load(ordering: .relaxed)
            }.run()
            bar.end()
            print(
                "\(output): \(MixBar.clock(result.length)), \(result.pictures) video and \(result.sounds) audio tracks")
        } catch let error as MixError {
            printError("weir mix: \(error)")
            throw ExitCode(error.exitCode)
        }
    }

    /// Files may have "=" in their names.
    private static func offset(_ text: String) throws(MixError) -> (file: String, seconds: Double) {
        guard let sign = text.lastIndex(of: "="), sign != text.startIndex,
            let seconds = Double(text[text.index(after: sign)...]), seconds.isFinite
        else { throw MixError(.usage, "--offset \(text)", remedy: "give FILE=SECONDS, such as b.mp4=2.5") }
        return (String(text[..<sign]), seconds)
    }
}

extension MixLayout: ExpressibleByArgument {}

/// Set by SIGINT and SIGTERM: the mix stops at the next picture and takes its temporary files away.
private let isStopped = Atomic<Bool>(false)

private func stopOnSignals() {
    for number in [SIGINT, SIGTERM] {
        signal(number) { number in
            isStopped.store(true, ordering: .relaxed)
            // The second time there is no waiting.
            signal(number, SIG_DFL)
        }
    }
    signal(SIGPIPE, SIG_IGN)
}
