import CFiles
import Glibc
import MediaFiles
import MediaFormats
import MediaFrames
import Wire

/// The file that a mix is written to: under temporary names beside it until it is whole. One thread.
final class MixOutput {
    let path: String
    let format: ContainerFormat
    private let replaces: Bool
    private let part: String
    private let final: String
    private let file: FileOutput
    private var muxer: Muxer?
    private var tracks: [TrackDescription] = []
    /// By track: frames that came before the file's head could be written.
    private var early: [MediaFrame] = []

    static func codecs(_ format: ContainerFormat) -> (picture: Codec, sound: Codec) {
        switch format {
        case .mp4, .ts: (.h264, .aac)
        case .mkv: (.h264, .opus)
        case .webm: (.vp8, .opus)
        }
    }

    /// Looks at everything that can be looked at beforehand, so that nobody waits an hour to be told.
    ///
    /// - Parameter inputs: none of which it may be.
    init(path: String, replaces: Bool, inputs: [String]) throws(MixError) {
        self.path = path
        self.replaces = replaces
        guard let format = ContainerFormat(fileName: path) else {
            let known = ContainerFormat.allCases.map { ".\($0.fileExtension)" }.joined(separator: ", ")
            throw MixError(
                .usage, "\(path): its name does not say which format it should have", remedy: "let it end in \(known)")
        }
        self.format = format
        let slash = path.lastIndex(of: "/")
        let folder = slash.map { String(path[...$0]) } ?? ""
        var status = stat()
        if stat(path, &status) == 0 {
            if inputs.contains(where: { Self.isSame($0, status) }) {
                throw MixError(.usage, "\(path): it is one of the inputs", remedy: "write to another file")
            }
            guard status.st_mode & S_IFMT == S_IFREG else {
                throw MixError(.cannotCreate, "\(path): it is there and is no file", remedy: "write to a file")
            }
            guard replaces else { throw Self.isThere(path) }
        }
        let base = "\(folder).weir-mix-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        part = base + ".part"
        final = base + ".final"
        do throws(ContainerError) {
            file = try FileOutput(creating: part, seekable: false)
        } catch {
            throw MixError(
                .cannotCreate, "\(path): cannot be created: \(error)",
                remedy: "look at its folder, or write elsewhere")
        }
    }

    /// Whatever the mix has come to, nothing of it is left but the whole file.
    deinit {
        unlink(part)
        unlink(final)
    }

    private static func isThere(_ path: String) -> MixError {
        MixError(.cannotCreate, "\(path): there is such a file", remedy: "write to another, or replace it by --force")
    }

    private static func isSame(_ input: String, _ output: stat) -> Bool {
        var status = stat()
        return stat(input, &status) == 0 && status.st_dev == output.st_dev && status.st_ino == output.st_ino
    }

    /// Says what will come, before the first frame. Tracks are numbered as they stand here.
    func begin(_ tracks: [TrackDescription]) { self.tracks = tracks }

    func write(_ frames: [MediaFrame], track: Int) throws(MixError) {
        for frame in frames {
            var frame = frame
            frame.track = track
            do throws(ContainerError) {
                if let muxer { try muxer.write(frame, track: track) } else { try wait(with: frame) }
            } catch {
                throw .writing(path, error)
            }
        }
    }

    /// The head needs the first frame of the pictures.
    private func wait(with frame: MediaFrame) throws(ContainerError) {
        early.append(frame)
        let firsts = tracks.indices.map { track in early.first { $0.track == track } }
        for (track, first) in zip(tracks, firsts) where track.isVideo && first == nil { return }
        let muxer = try Muxer(
            format: format, tracks: zip(tracks, firsts).map { MuxerTrack($0, first: $0.isVideo ? $1 : nil) },
            origin: .zero, output: file)
        self.muxer = muxer
        for frame in early { try muxer.write(frame, track: frame.track) }
        early = []
    }

    /// Makes the file whole and puts it into its place.
    ///
    /// - Parameter progress: share that is done; false stops.
    func finish(progress: @escaping (Double) -> Bool) throws(MixError) {
        do throws(ContainerError) {
            guard let muxer else { throw .wrongFormat }
            try muxer.finish()
            try close(file)
            guard format.isFinalised else { return try place(part) }
            let whole = try FileOutput(creating: final, seekable: true)
            _ = try Remuxer(source: part, format: format, progress: progress).run(into: whole)
            try close(whole)
            try place(final)
        } catch {
            if error == .system(errno: EEXIST) { throw Self.isThere(path) }
            throw .writing(path, error)
        }
    }

    private func close(_ file: FileOutput) throws(ContainerError) {
        for error in [file.sync(), file.close()] where error != 0 { throw .system(errno: error) }
    }

    private func place(_ source: String) throws(ContainerError) {
        if replaces {
            guard rename(source, path) == 0 else { throw .system(errno: errno) }
            return
        }
        if weir_rename_new(source, path) == 0 { return }
        // File systems that cannot rename without replacing.
        guard errno == EINVAL || errno == ENOSYS else { throw .system(errno: errno) }
        guard link(source, path) == 0 else { throw .system(errno: errno) }
        unlink(source)
    }
}
