// Runs kineflow/flow/solvers/cluster.cu on a CPU: a thread for each thread, memory filled with NaN before use.
//
//   g++ -std=c++20 -pthread -x c++ -DKERNEL='"…/cluster.cu"' -DTHREADS=8 -DCLUSTER=2 -DON_CHIP=3 -DMEDIAN=5
//       cuda_on_cpu.h
//
// The program reads what the host would pass to the GPU from its standard input and writes the flow to its output. It
// ends with 3 when a block wrote past its shared memory. With -fsanitize=thread a missing barrier is a data race.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <limits>
#include <thread>
#include <vector>

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __cluster_dims__(...)

using std::max, std::min;

struct float2 {
    float x, y;
};

struct float4 {
    float x, y, z, w;
};

struct Index {
    unsigned x;
};

// std::barrier would do, but all of them share a waiting room (in libstdc++), which orders more than they promise, so
// that the thread sanitizer misses races.
class Barrier {
public:
    explicit Barrier(int threads) : threads(threads) {}

    int arrive() {
        const int before = phase.load(std::memory_order_relaxed);
        if (arrived.fetch_add(1, std::memory_order_release) + 1 == threads) {
            arrived.exchange(0, std::memory_order_acquire);
            phase.fetch_add(1, std::memory_order_release);
        }
        return before;
    }

    void wait(int before) const {
        while (phase.load(std::memory_order_acquire) == before) std::this_thread::yield();
    }

    void arrive_and_wait() { wait(arrive()); }

private:
    const int threads;
    std::atomic<int> arrived{0}, phase{0};
};

constexpr int WARP = 4;  // small, so that a block of few threads has several

struct Warp {
    Barrier barrier{WARP};
    float values[WARP];
};

struct Cluster;

struct Block {
    std::vector<float> memory;
    Barrier barrier{THREADS};
    std::deque<Warp> warps{THREADS / WARP};
    Cluster* cluster;
};

struct Cluster {
    Barrier barrier{THREADS * CLUSTER};
    std::deque<Block> blocks{CLUSTER};
};

thread_local Index threadIdx, blockIdx;
thread_local Block* block;
thread_local int phase_at_arrival;

float* shared_memory() { return block->memory.data(); }

void block_sync() { block->barrier.arrive_and_wait(); }

void cluster_arrive() { phase_at_arrival = block->cluster->barrier.arrive(); }

void cluster_wait() { block->cluster->barrier.wait(phase_at_arrival); }

template <typename T>
T* remote(T* place, int rank) {
    float* there = block->cluster->blocks[rank].memory.data();
    return reinterpret_cast<T*>(there) + (place - reinterpret_cast<T*>(shared_memory()));
}

float warp_sum(float value) {
    Warp& warp = block->warps[threadIdx.x / WARP];
    warp.values[threadIdx.x % WARP] = value;
    warp.barrier.arrive_and_wait();
    float sum = 0;
    for (float each : warp.values) sum += each;
    warp.barrier.arrive_and_wait();
    return sum;
}

#include KERNEL

template <typename T>
std::vector<T> read(std::size_t count) {
    std::vector<T> values(count);
    if (std::fread(values.data(), sizeof(T), count, stdin) != count) std::exit(2);
    return values;
}

int main() {
    const auto sizes = read<std::int64_t>(5);
    const auto pairs = sizes[0], shared_floats = sizes[1] / 4, workspace_floats = sizes[2], frame_pixels = sizes[3];
    const Settings settings = read<Settings>(1)[0];
    const auto levels = read<Level>(sizes[4]);
    const auto frames = read<float4>(pairs * frame_pixels);

    constexpr std::size_t GUARD = 1024;
    const float nan = std::numeric_limits<float>::quiet_NaN(), untouched = 1e30f;
    std::vector<float> flow(2 * pairs * levels[0].height * levels[0].width, nan);
    std::vector<float> workspace(pairs * CLUSTER * workspace_floats, nan);
    for (std::int64_t pair = 0; pair < pairs; ++pair) {
        Cluster cluster;
        for (Block& each : cluster.blocks) {
            each.cluster = &cluster;
            each.memory.assign(shared_floats, nan);
            each.memory.resize(shared_floats + GUARD, untouched);
        }
        std::vector<std::jthread> threads;
        for (int rank = 0; rank < CLUSTER; ++rank)
            for (int thread = 0; thread < THREADS; ++thread)
                threads.emplace_back([&, rank, thread] {
                    threadIdx.x = thread;
                    blockIdx.x = pair * CLUSTER + rank;
                    block = &cluster.blocks[rank];
                    tvl1(settings, levels.data(), frames.data(), frame_pixels, flow.data(), workspace.data(),
                         workspace_floats);
                });
        threads.clear();
        for (const Block& each : cluster.blocks)
            for (std::size_t i = shared_floats; i < each.memory.size(); ++i)
                if (each.memory[i] != untouched) return 3;
    }
    return std::fwrite(flow.data(), sizeof(float), flow.size(), stdout) == flow.size() ? 0 : 2;
}
