// libcudnn.so.9 of this device: every function refuses, and says what to do. It stands in the way
// of a real one, which would look for a driver that is not there.
extern "C" {

const char* cudnnGetErrorString(int) {
  return "softgpu has no cuDNN; choose DIFFSCM_CONV=mma, tiled or naive";
}

// CUDNN_STATUS_NOT_SUPPORTED, whatever the arguments.
#define REFUSES(name) \
  int name() {        \
    return 3000;      \
  }
REFUSES(cudnnCreate)
REFUSES(cudnnSetStream)
REFUSES(cudnnCreateTensorDescriptor)
REFUSES(cudnnSetTensor4dDescriptor)
REFUSES(cudnnCreateFilterDescriptor)
REFUSES(cudnnSetFilter4dDescriptor)
REFUSES(cudnnCreateConvolutionDescriptor)
REFUSES(cudnnSetConvolution2dDescriptor)
REFUSES(cudnnSetConvolutionMathType)
REFUSES(cudnnFindConvolutionForwardAlgorithmEx)
REFUSES(cudnnFindConvolutionBackwardDataAlgorithmEx)
REFUSES(cudnnFindConvolutionBackwardFilterAlgorithmEx)
REFUSES(cudnnConvolutionForward)
REFUSES(cudnnConvolutionBackwardData)
REFUSES(cudnnConvolutionBackwardFilter)

}  // extern "C"
