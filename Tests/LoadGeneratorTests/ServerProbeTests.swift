import Glibc
import LoadGenerator
import Testing

@Suite(.serialized) struct ServerProbeTests {
    /// Runs this thread until it has used so much processor time.
    private func burn(_ seconds: Double) {
        func used() -> Double {
            var time = timespec()
            clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
            return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
        }
        let end = used() + seconds
        while used() < end {}
    }

    @Test func burntTimeIsSeen() throws {
        let measurement = try ServerProbe(process: getpid()).begin()
        burn(0.3)
        let usage = try measurement.end()
        #expect(usage.cpuSeconds >= 0.3 && usage.seconds >= 0.3)
        // Other tests burn at the same time; the kernel counts in ticks of 10 ms.
        #expect(usage.cpuSeconds <= usage.seconds * Double(MachineDescription.current().cores) + 0.1)
        #expect(abs(usage.cpuSeconds - usage.userSeconds - usage.systemSeconds) < 0.1)
        #expect((usage.systemCalls == nil) != (usage.whyNoSystemCalls == nil), "a count, or why there is none")
    }

    @Test func waitsAreVoluntarySwitches() throws {
        let measurement = try ServerProbe(process: getpid()).begin()
        for _ in 0..<50 { usleep(100) }
        let usage = try measurement.end()
        #expect(usage.voluntarySwitches >= 50 && usage.involuntarySwitches >= 0)
    }

    /// In a process of its own, where other tests' memory does not count.
    @Test func memoryThatIsTouchedIsSeen() async {
        await #expect(processExitsWith: .success) {
            let probe = try ServerProbe(process: getpid())
            let before = try probe.residentBytes()
            let size = 64 << 20
            let memory = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 4_096)
            memset(memory, 1, size)
            let after = try probe.residentBytes()
            #expect(after - before > size / 2 && after - before < size * 2)
            #expect((memory + size - 1).load(as: UInt8.self) == 1)
            memory.deallocate()
        }
    }

    @Test func absentProcessIsNamed() {
        #expect(throws: ServerProbe.Failure.self) { try ServerProbe(process: 0x3fff_fff0) }
        #expect(throws: ServerProbe.Failure.self) { try ServerProbe(process: -1) }
    }

    @Test func processThatEndsIsNamed() throws {
        var child = pid_t()
        var arguments: [UnsafeMutablePointer<CChar>?] = [strdup("sleep"), strdup("1000"), nil]
        defer { for argument in arguments { free(argument) } }
        try #require(posix_spawnp(&child, "sleep", nil, nil, &arguments, environ) == 0)
        let probe = try ServerProbe(process: child)
        let measurement = try probe.begin()
        kill(child, SIGKILL)
        waitpid(child, nil, 0)
        #expect(throws: ServerProbe.Failure.self) { try measurement.end() }
        #expect(throws: ServerProbe.Failure.self) { try probe.residentBytes() }
    }

    @Test func namesWithParenthesesAreRead() throws {
        let text =
            "42 (a) b) (c) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 987654 1000 200 18446744073709551615"
        let stat = try #require(ProcStat(text, ticks: 100))
        #expect(stat.name == "a) b) (c")
        #expect(stat.userSeconds == 2.5 && stat.systemSeconds == 0.5 && stat.startTime == 987_654)
        #expect(ProcStat("42 (a", ticks: 100) == nil && ProcStat("", ticks: 100) == nil)
    }

    @Test func numbersAreFoundByTheirWholeName() {
        let text = "Name:\tweir\nVmRSS:\t    1234 kB\nnonvoluntary_ctxt_switches:\t7\nvoluntary_ctxt_switches:\t9\n"
        #expect(ProcFiles.number("VmRSS", in: text) == 1_234)
        #expect(ProcFiles.switches(in: text) == ContextSwitches(voluntary: 9, involuntary: 7))
        #expect(ProcFiles.number("VmR", in: text) == nil)
    }

    @Test func machineIsDescribed() {
        let machine = MachineDescription.current()
        #expect(machine.cores >= machine.usableCores && machine.usableCores > 0)
        #expect(machine.memoryBytes > 64 << 20 && !machine.kernel.isEmpty && !machine.processor.isEmpty)
    }
}
