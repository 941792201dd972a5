import Glibc
import LinuxNet

/// Where a measurement was made.
package struct MachineDescription: Sendable, Codable, Equatable {
    package var processor: String
    /// Of the machine.
    package var cores: Int
    /// That this program may use.
    package var usableCores: Int
    package var kernel: String
    package var memoryBytes: Int

    package init(processor: String, cores: Int, usableCores: Int, kernel: String, memoryBytes: Int) {
        self.processor = processor
        self.cores = cores
        self.usableCores = usableCores
        self.kernel = kernel
        self.memoryBytes = memoryBytes
    }

    package static func current() -> MachineDescription {
        let processors = ProcFiles.read("/proc/cpuinfo") ?? ""
        let memory = ProcFiles.read("/proc/meminfo").flatMap { ProcFiles.number("MemTotal", in: $0) } ?? 0
        let kernel = ProcFiles.read("/proc/sys/kernel/osrelease") ?? "unknown"
        return MachineDescription(
            processor: model(processors), cores: max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))),
            usableCores: Machine.usableCores,
            kernel: String(kernel.prefix { !$0.isNewline }), memoryBytes: memory << 10)
    }

    /// `model name` of x86; other architectures have no such line.
    static func model(_ cpuinfo: String) -> String {
        for line in cpuinfo.split(separator: "\n") where line.hasPrefix("model name") {
            guard let colon = line.firstIndex(of: ":") else { continue }
            return String(line[line.index(after: colon)...].drop { $0 == " " })
        }
        return "unknown"
    }
}
