import Foundation
import Testing
import Weir

@Suite struct BuildInfoTests {
    private let hash = "0123456789abcdef0123456789abcdef01234567"

    @Test func theCommitIsReadFromTheFileBesideTheExecutable() throws {
        let directory = try TemporaryDirectory()
        let executable = try directory.write("weir", "")
        #expect(BuildInfo(executable: executable).commit == "unknown")
        let file = try directory.write("weir-commit", "\(hash)\n")
        #expect(BuildInfo(executable: executable).commit == hash)
        #expect(BuildInfo(executable: executable).description == "weir 0.1.0 (commit \(hash))")
        // An executable built later is of another commit.
        try FileManager.default.setAttributes(
            [.modificationDate: Date(timeIntervalSince1970: 1000)], ofItemAtPath: file)
        #expect(BuildInfo(executable: executable).commit == "unknown")
        _ = try directory.write("weir-commit", "<html>\n")
        #expect(BuildInfo(executable: executable).commit == "unknown")
    }

    @Test func anExecutableInABuildDirectoryTakesTheSourceTrees() throws {
        let directory = try TemporaryDirectory()
        for sub in [".build/release", ".git/refs/heads"] {
            try FileManager.default.createDirectory(
                atPath: "\(directory.path)/\(sub)", withIntermediateDirectories: true)
        }
        let executable = try directory.write(".build/release/weir", "")
        _ = try directory.write(".git/HEAD", "ref: refs/heads/main\n")
        #expect(BuildInfo(executable: executable).commit == "unknown")
        _ = try directory.write(".git/packed-refs", "# pack-refs\n\(hash) refs/heads/main\n")
        #expect(BuildInfo(executable: executable).commit == "\(hash), source tree")
        let other = String(hash.reversed())
        _ = try directory.write(".git/refs/heads/main", "\(other)\n")
        #expect(BuildInfo(executable: executable).commit == "\(other), source tree")
        _ = try directory.write(".git/HEAD", "\(hash)\n")
        #expect(BuildInfo(executable: executable).commit == "\(hash), source tree")
    }

    @Test func theServiceFileHoldsWhatOperationsRelyOn() throws {
        let lines = Set(try repositoryFile("Config/weir.service").split(separator: "\n").map(String.init))
        for line in [
            "User=weir", "LimitNOFILE=1048576", "AmbientCapabilities=CAP_NET_BIND_SERVICE", "KillSignal=SIGTERM",
            "Restart=on-failure", "RestartPreventExitStatus=78", "StateDirectory=weir",
        ] {
            #expect(lines.contains(line), "\(line)")
        }
    }
}
