import ArgumentParser
import Glibc
import SourceProcess

/// `weir pull-source`: what the server starts to read one source, and nobody else.
struct PullSource: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Read one source for the server that has started this.", shouldDisplay: false)

    @Option(help: "Process that has started this, with which it ends.")
    var parent: Int32

    @Option(help: "Bytes of address space.")
    var memory: Int

    func run() throws {
        // At once: a thread may be in the midst of libavformat, whose state an orderly exit would take away.
        _exit(SourceProcess.run(parent: parent, memory: memory))
    }
}
